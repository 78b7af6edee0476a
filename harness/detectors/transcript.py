"""What calls and changes say, for all detectors: equal calls, edits, test runs, added lines. Judges nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import NamedTuple

from harness.agent.parser_faults import is_parser_fault
from harness.detectors.base import Case, Change
from profiler.dispatch_records import CallRecord, TurnRecord

__all__ = [
    "MOST_LINE_CHARACTERS",
    "Line",
    "PlacedCall",
    "added_lines",
    "call_key",
    "changed_paths",
    "edited",
    "event_turns",
    "first_line",
    "is_edit",
    "is_test_path",
    "is_verify",
    "last_edit",
    "parser_fault",
    "passed",
    "shown_call",
    "verify_runs",
    "worth",
]

MOST_LINE_CHARACTERS = 1000
"""How much of a line is looked at: what models write has no bound, and patterns cost more than their length."""

PlacedCall = tuple[int, CallRecord]
"""A call with the number of its turn."""

_TEST_COMMAND = re.compile(
    r"\b(?:pytest|py\.test|unittest|nosetests|tox|nox|jest|vitest|mocha|rspec|ctest|"
    r"(?:go|cargo|npm|yarn|pnpm|make|mvn|gradle) (?:run )?test)\b"
)
_TEST_PATH = re.compile(r"(?:^|/)(?:tests?/|test_[^/]*\.\w+$|[^/]*_test\.\w+$|conftest\.py$)")


class Line(NamedTuple):
    """A line that was added to a file: its number, from 1, and its text, cut where it is very long."""

    number: int
    text: str


def call_key(call: CallRecord) -> tuple[str, str]:
    """What makes two calls equal: the tool, and the arguments as JSON with sorted keys, or as they were written."""
    try:
        arguments = json.dumps(json.loads(call.arguments), sort_keys=True)
    except (ValueError, RecursionError):
        arguments = call.arguments
    return call.name, arguments


def is_edit(call: CallRecord) -> bool:
    """Whether a call changed files: what was seen of the workspace, else what the tool is for and that it did not
    fail. A test run that leaves files is none.
    """
    if call.fault is not None or call.effect == "verify":
        return False
    return bool(call.changed) or (call.effect == "edit" and call.ok is not False)


def is_verify(call: CallRecord) -> bool:
    """Whether a call ran tests: by the test tool, or by a command that names a test runner."""
    if call.fault is not None:
        return False
    return call.effect == "verify" or (call.effect == "execute" and _TEST_COMMAND.search(call.arguments) is not None)


def passed(call: CallRecord) -> bool | None:
    """Whether a call did what was asked; `None` if that was not seen."""
    return None if call.ok is None else call.ok and not call.exit_code


def last_edit(calls: tuple[PlacedCall, ...]) -> int:
    """The place of the last call that changed files; -1 if there is none."""
    return max((at for at, (_, call) in enumerate(calls) if is_edit(call)), default=-1)


def verify_runs(case: Case, *, after_last_edit: bool = False) -> tuple[PlacedCall, ...]:
    """All runs of tests, or those after the last change of files."""
    first = last_edit(case.calls) + 1 if after_last_edit else 0
    return tuple(placed for placed in case.calls[first:] if is_verify(placed[1]))


def changed_paths(case: Case) -> frozenset[str]:
    """Every path that is changed at the end, or that a call changed on the way."""
    return frozenset(change.path for change in case.changes) | frozenset(
        path for _, call in case.calls for path in call.changed
    )


def edited(case: Case) -> bool:
    """Whether anything was changed, as far as was seen."""
    return bool(case.changes) or any(is_edit(call) for _, call in case.calls)


def event_turns(case: Case, name: str) -> tuple[int, ...]:
    """The turns that have an event of this name, once for each."""
    return tuple(turn.turn for turn in case.turns for event in turn.events if event.partition(":")[0] == name)


def parser_fault(turn: TurnRecord) -> bool:
    """Whether the server could not take a turn's reply apart: as the loop noted it, or by the engine's message."""
    if any(event.startswith("server_parse_error") for event in turn.events):
        return True
    return is_parser_fault(turn.error)


def added_lines(change: Change) -> tuple[Line, ...]:
    """Lines of a file that it did not have before, wherever they stood; empty ones do not count."""
    if change.after is None:
        return ()
    before = Counter(line.strip() for line in (change.before or "").splitlines())
    found: list[Line] = []
    for number, line in enumerate(change.after.splitlines(), 1):
        text = line.strip()
        if before[text]:
            before[text] -= 1
        elif text:
            found.append(Line(number, line[:MOST_LINE_CHARACTERS]))
    return tuple(found)


def is_test_path(path: str) -> bool:
    """Whether a file is one of tests, by its name or its folder."""
    return _TEST_PATH.search(path) is not None


def shown_call(call: CallRecord) -> str:
    """A call in few words, for evidence."""
    return f"{call.name[:40]}({' '.join(call.arguments.split())[:80]})"


def first_line(text: str, characters: int = 100) -> str:
    """The beginning of a text in one line, for evidence."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def worth(case: Case) -> str:
    """What the verifier said, in words."""
    score = case.outcome.score
    return f"the verifier says {case.outcome.verified}" + (f" ({score:.2f})" if score is not None else "")
