"""Tool calls that could not be run, by what is wrong with them. From state alone."""

from __future__ import annotations

from itertools import pairwise

from harness.detectors.base import Case
from harness.detectors.transcript import first_line, parser_fault, shown_call
from profiler.dispatch_records import CallFault, Detection

__all__ = ["CALL_FAULTS", "malformed_tool_call"]

CALL_FAULTS: tuple[CallFault, ...] = (
    "unparsable_args",
    "schema_violation",
    "unknown_tool",
    "truncated_call",
    "text_encoded_call",
)
REPEATED_TURNS = 3
"""Turns in a row with the same fault from which it is said to be repeated."""


def malformed_tool_call(case: Case) -> tuple[Detection, ...]:
    """One detection for each kind of fault that was seen, with how often, and the first one as evidence."""
    found: list[Detection] = []
    for fault in CALL_FAULTS:
        faulty = [(turn, call) for turn, call in case.calls if call.fault == fault]
        if faulty:
            turn, call = faulty[0]
            words = shown_call(call) + _repeated([turn for turn, _ in faulty])
            found.append(Detection(f"malformed_tool_call.{fault}", True, words, turn, len(faulty)))
    unread = [turn for turn in case.turns if parser_fault(turn)]
    if unread:
        said = unread[0].error.message if unread[0].error else unread[0].events[0]
        words = first_line(said, 160) + _repeated([turn.turn for turn in unread])
        code = "malformed_tool_call.server_parse_error"
        found.append(Detection(code, True, words, unread[0].turn, len(unread)))
    return tuple(found)


def _repeated(turns: list[int]) -> str:
    longest = length = 1
    for before, after in pairwise(sorted(set(turns))):
        length = length + 1 if after == before + 1 else 1
        longest = max(longest, length)
    return f" (repeated: {longest} turns in a row)" if longest >= REPEATED_TURNS else ""
