"""Figures of one dispatch beside its outcome: validity of calls, ways of working, claims. Unknown is `None`.

Tokens, times of the engine and memory are in the dispatch's `Totals`; what is here comes from the transcript.
"""

from __future__ import annotations

from collections import Counter

from harness.detectors.base import Case
from harness.detectors.claims import claims_done
from harness.detectors.durations import time_claim_log2
from harness.detectors.malformed import CALL_FAULTS
from harness.detectors.transcript import (
    PlacedCall,
    added_lines,
    call_key,
    edited,
    is_edit,
    is_verify,
    last_edit,
    parser_fault,
    passed,
    verify_runs,
)

__all__ = ["metrics_of"]

Metrics = dict[str, float | int | None]


def metrics_of(case: Case) -> Metrics:
    """All figures of a dispatch by name, in a fixed order; docs/detectors.md says what each means."""
    return {
        "turns": len(case.turns),
        "calls": len(case.calls),
        **_validity(case),
        **_ways(case),
        **_corrections(case.calls),
        "redundant_read_bytes": _redundant_read_bytes(case.calls),
        "edit_churn_lines": _edit_churn_lines(case),
        "tool_ns": _tool_ns(case.calls),
        "transcript_bytes": _transcript_bytes(case),
        "sandbox_denials": sum(call.denied for _, call in case.calls),
        "time_claim_log2": time_claim_log2(case),
        "claimed_done": int(claims_done(case)),
        "verified_pass": _verified_pass(case),
    }


def _validity(case: Case) -> Metrics:
    """Calls that could be run, of all that were made; the faulty ones by kind, and those that failed when run."""
    faults = Counter(call.fault for _, call in case.calls if call.fault)
    unread = sum(parser_fault(turn) for turn in case.turns)
    made = len(case.calls) + unread
    malformed = faults.total() + unread
    return {
        "call_validity_rate": (made - malformed) / made if made else None,
        "calls_malformed": malformed,
        **{f"calls_{fault}": faults[fault] for fault in CALL_FAULTS},
        "calls_server_parse_error": unread,
        "calls_rescued": sum(call.origin == "text" and call.fault is None for _, call in case.calls),
        "calls_failed": sum(call.ok is False for _, call in case.calls),
    }


def _ways(case: Case) -> Metrics:
    """What the calls were for. Where files changed and no call is known to have done it, nothing is known of edits."""
    calls = case.calls
    loads = sum(call.effect == "load" and call.fault is None for _, call in calls)
    edits = sum(is_edit(call) for _, call in calls)
    known = edits > 0 or not edited(case)
    first = next((number for number, (_, call) in enumerate(calls, 1) if is_edit(call)), None)
    after = [passed(call) for _, call in verify_runs(case, after_last_edit=True)] if last_edit(calls) >= 0 else None
    return {
        "calls_to_first_edit": first,
        "loads": loads,
        "edits": edits if known else None,
        "load_to_act": loads / edits if edits else None,
        "verify_runs": sum(is_verify(call) for _, call in calls),
        "verify_runs_after_last_edit": None if after is None else len(after),
        "verify_passes_after_last_edit": None if after is None or None in after else sum(map(bool, after)),
    }


def _corrections(calls: tuple[PlacedCall, ...]) -> Metrics:
    """Failures that were made good: a later call of the same tool succeeded, and something was changed before it.

    What changes is the arguments, or, for a test, a file between the two runs. A call that could not be run is a
    failure too. Several failures in a row that one success makes good are one correction each.
    """
    failures = corrected = 0
    for at, (_, call) in enumerate(calls):
        if call.fault is None and call.ok is not False:
            continue
        failures += 1
        corrected += any(
            later.name == call.name
            and later.fault is None
            and bool(passed(later))
            and (
                call_key(later) != call_key(call)
                or any(is_edit(between) for _, between in calls[at + 1 : at + 1 + step])
            )
            for step, (_, later) in enumerate(calls[at + 1 :])
        )
    rate = corrected / failures if failures else None
    return {"failed_calls": failures, "self_corrections": corrected, "self_correction_rate": rate}


def _redundant_read_bytes(calls: tuple[PlacedCall, ...]) -> int:
    """Bytes of results that had been shown before: the same call of a reading tool with the same result."""
    seen: set[tuple[str, str, str]] = set()
    redundant = 0
    for _, call in calls:
        if call.effect != "load" or not call.result_sha256:
            continue
        this = (*call_key(call), call.result_sha256)
        redundant += call.result_bytes if this in seen else 0
        seen.add(this)
    return redundant


def _edit_churn_lines(case: Case) -> int | None:
    """Lines that were added on the way and are not there at the end; `None` where calls do not say what they added."""
    if edited(case) and not any(call.changed for _, call in case.calls):
        return None
    added = sum(call.lines_added for _, call in case.calls)
    return max(0, added - sum(len(added_lines(change)) for change in case.changes))


def _tool_ns(calls: tuple[PlacedCall, ...]) -> int | None:
    """Time in tools; `None` if a call was run and its time is not known."""
    times = [call.duration_ns for _, call in calls if call.fault is None and call.ok is not None]
    return None if None in times else sum(filter(None, times))


def _transcript_bytes(case: Case) -> int:
    """What was said and shown: text, thoughts, arguments and results, in UTF-8."""
    texts = [text for turn in case.turns for text in (turn.content, turn.reasoning)]
    texts += [text for _, call in case.calls for text in (call.name, call.arguments, call.result)]
    return sum(len(text.encode("utf-8", "replace")) for text in texts)


def _verified_pass(case: Case) -> int | None:
    """1 or 0 by the verifier; `None` where it was not run or failed. With `claimed_done` it is a cell of the matrix."""
    known = case.outcome.valid and case.outcome.verified != "not_run"
    return int(case.outcome.verified == "pass") if known else None
