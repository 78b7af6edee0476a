"""Loops: the same calls with the same results, turns without calls, compaction after compaction. From state alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby, pairwise

from harness.detectors.base import Case
from harness.detectors.transcript import (
    PlacedCall,
    call_key,
    event_turns,
    is_edit,
    is_verify,
    shown_call,
)
from profiler.dispatch_records import CallRecord, Detection, TurnRecord

__all__ = ["compaction_loop", "monologue", "tool_loop_alternating", "tool_loop_same", "tool_loop_window"]

SAME_CALLS, SAME_ERRORS = 4, 3
"""Equal calls with equal results in a row; fewer if the result is an error."""
ALTERNATING_CALLS = 6
WINDOW_CALLS, WINDOW_EQUAL = 10, 5
MONOLOGUE_TURNS = 3
COMPACTIONS, COMPACTION_TURNS = 2, 5

_POLLING = re.compile(r"wait|poll|sleep|status|watch", re.IGNORECASE)

_Step = tuple[str, str, str]
"""A call with its result: tool, arguments, hash of the result."""


def tool_loop_same(case: Case) -> tuple[Detection, ...]:
    """Runs of equal calls with equal results, directly one after the other; the longest is shown."""
    grouped = groupby(_run_calls(case), key=lambda placed: _step(placed[1]))
    runs = [list(run) for step, run in grouped if step is not None]
    loops = [run for run in runs if len(run) >= (SAME_ERRORS if run[0][1].ok is False else SAME_CALLS)]
    if not loops:
        return ()
    longest = max(loops, key=len)
    turn, call = longest[0]
    words = f"{shown_call(call)} {len(longest)} times in a row with the same result"
    return (Detection("tool_loop_same", True, words, turn, len(longest)),)


def tool_loop_alternating(case: Case) -> tuple[Detection, ...]:
    """Runs of two different calls in turns, each with the result that it had before; the longest is shown."""
    calls = list(_run_calls(case))
    steps = [_step(call) for _, call in calls]
    longest, start = 0, 0
    length = 0
    for at in range(2, len(steps)):
        alternates = steps[at] is not None and steps[at] == steps[at - 2] != steps[at - 1] and steps[at - 1] is not None
        length = (length + 1 if length else 3) if alternates else 0
        if length > longest:
            longest, start = length, at + 1 - length
    if longest < ALTERNATING_CALLS:
        return ()
    turn, first = calls[start]
    words = f"{shown_call(first)} and {shown_call(calls[start + 1][1])} in turns, {longest} calls"
    return (Detection("tool_loop_alternating", True, words, turn, longest),)


def tool_loop_window(case: Case) -> tuple[Detection, ...]:
    """A call that is made again and again among others, whatever it brings. Advisory: it may have its reason."""
    calls = [placed for placed in _run_calls(case) if not is_verify(placed[1]) and not _POLLING.search(placed[1].name)]
    keys = [call_key(call) for _, call in calls]
    for end in range(len(keys)):
        window = keys[max(0, end + 1 - WINDOW_CALLS) : end + 1]
        if window.count(keys[end]) >= WINDOW_EQUAL:
            turn, call = calls[end]
            words = f"{shown_call(call)} {window.count(keys[end])} times in {len(window)} calls"
            return (Detection("tool_loop_window", False, words, turn, keys.count(keys[end])),)
    return ()


def monologue(case: Case) -> tuple[Detection, ...]:
    """Turns in a row in which the model called nothing, though it had tools and was asked on."""
    if case.task.harness.single_shot:
        return ()
    silent = [turn for turn in case.turns if not turn.error]
    runs = [list(run) for calls, run in groupby(silent, key=lambda turn: bool(turn.calls)) if not calls]
    longest = max(runs, key=len, default=list[TurnRecord]())
    if len(longest) < MONOLOGUE_TURNS:
        return ()
    words = f"{len(longest)} turns in a row without a tool call"
    return (Detection("monologue", True, words, longest[0].turn, len(longest)),)


def compaction_loop(case: Case) -> tuple[Detection, ...]:
    """Compactions that follow each other closely while no file changes."""
    if not case.task.harness.requires_changes:
        return ()
    compacted = event_turns(case, "compacted")
    edits = {turn for turn, call in case.calls if is_edit(call)}
    idle = [
        (first, second)
        for first, second in pairwise(compacted)
        if second - first < COMPACTION_TURNS and not edits & set(range(first, second))
    ]
    if len(idle) + 1 < COMPACTIONS or not idle:
        return ()
    words = f"compacted at turns {idle[0][0]} and {idle[0][1]}, and no file changed between"
    return (Detection("compaction_loop", True, words, idle[0][1], len(idle) + 1),)


def _run_calls(case: Case) -> Iterable[PlacedCall]:
    return (placed for placed in case.calls if placed[1].fault is None)


def _step(call: CallRecord) -> _Step | None:
    """A call with its result; `None` where the result was not seen, which equals nothing."""
    result = call.result_sha256 or call.result
    return (*call_key(call), result) if result else None
