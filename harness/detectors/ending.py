"""How a dispatch ended that ended by itself: without acting, without a word, too early, too late."""

from __future__ import annotations

import re

from harness.detectors.base import Case
from harness.detectors.claim_text import claims_completion, sentences
from harness.detectors.transcript import edited, first_line, last_edit, passed, verify_runs, worth
from profiler.dispatch_records import Detection

__all__ = ["no_final_response", "premature_stop", "talk_not_act", "unaware_of_termination"]

LEFT_SHARE = 0.5
"""Share of turns and time that must be left for a stop to be premature."""
IDLE_TURNS = 5
"""Turns after the work was seen to pass from which going on is a failure."""

_ANNOUNCES = re.compile(
    r"^(?:(?:ok(?:ay)?|now|next|then|first|finally|so|great|perfect)[,.!]? )*"
    r"(?:let me (?!know)|let us |let's |i(?:'ll| will| am going to|'m going to| need to| have to) )"
    r"|\bgood luck\b",
    re.IGNORECASE,
)
_BY_ITSELF = ("stopped", "submitted")
_CUT_SHORT = ("stopped", "limit_turns", "limit_tokens", "limit_wall", "stuck", "format_errors", "context_overflow")


def talk_not_act(case: Case) -> tuple[Detection, ...]:
    """Ended by itself with nothing changed where changes were the task, or with an announcement as its last word."""
    found: list[Detection] = []
    last = case.turns[-1].turn if case.turns else None
    if case.exit_status in _BY_ITSELF and case.task.harness.requires_changes and not edited(case):
        calls = sum(call.fault is None for _, call in case.calls)
        words = f"ended by itself after {calls} calls, and no file was changed: {first_line(case.final_message, 80)}"
        found.append(Detection("talk_not_act", True, words, last))
    said = sentences(case.final_message)
    if case.exit_status == "stopped" and said and _ANNOUNCES.search(said[-1]):
        found.append(Detection("talk_not_act", False, f"the last words: {first_line(said[-1])}", last))
    return tuple(found)


def no_final_response(case: Case) -> tuple[Detection, ...]:
    """The end without a word: an empty last reply, or a limit before any."""
    if case.exit_status not in _CUT_SHORT or case.final_message.strip() or case.task.harness.single_shot:
        return ()
    how = "the last reply is empty" if case.exit_status == "stopped" else f"ended by {case.exit_status}"
    return (Detection("no_final_response", True, how, case.turns[-1].turn if case.turns else None),)


def premature_stop(case: Case) -> tuple[Detection, ...]:
    """Stopped by itself with the work failing and much left to try, without saying that it is done."""
    failing = case.outcome.valid and case.outcome.verified == "fail"
    if case.exit_status != "stopped" or not failing or claims_completion(case.final_message):
        return ()
    limits = case.setting.limits
    used = max(
        len(case.turns) / limits.turns,
        case.wall_ns / 1e9 / min(limits.wall_s, case.task.agent_timeout_s),
    )
    if used >= 1 - LEFT_SHARE or case.task.harness.single_shot:
        return ()
    words = f"stopped with {1 - used:.0%} of turns and time left; {worth(case)}"
    return (Detection("premature_stop", False, words, case.turns[-1].turn if case.turns else None),)


def unaware_of_termination(case: Case) -> tuple[Detection, ...]:
    """Went on for turns after its tests had passed on what it left, and that does pass."""
    if not case.outcome.valid or case.outcome.verified != "pass" or last_edit(case.calls) < 0:
        return ()
    green = next((turn for turn, call in verify_runs(case, after_last_edit=True) if passed(call)), None)
    if green is None:
        return ()
    idle = case.turns[-1].turn - green
    if idle < IDLE_TURNS:
        return ()
    words = f"the tests passed at turn {green}, nothing was changed after that, and {idle} turns followed"
    return (Detection("unaware_of_termination", True, words, green, idle),)
