"""Records of dispatches whose every figure can be worked out by hand."""

from __future__ import annotations

from typing import Any

from backends.base import Evidence
from profiler.dispatch_records import (
    CallRecord,
    Capabilities,
    Detection,
    DispatchRecord,
    DispatchStarted,
    Outcome,
    TurnRecord,
)
from profiler.dispatch_totals import totals_of
from profiler.ledger import Match
from profiler.records import Reply, RequestRecord, Stamps
from profiler.verdict import judge

CONFINED = Capabilities("landlock", True, True, True, True, True, True, True)
MS = 1_000_000


def started(name: str = "0001-debug-todo-1", **further: Any) -> DispatchStarted:
    fields: dict[str, Any] = {
        "dispatch_id": name,
        "task": "debug/todo-1",
        "pack": "debug",
        "seed": 0,
        "task_sha256": "0" * 64,
        "setting": "focused",
        "setting_fingerprint": "f" * 64,
        "levers": {"skills.bytes": 18000},
        "actor": "model",
        "agent": "built-in",
        "fidelity": "dispatch",
        "target": "scripted:",
        "sandbox": CONFINED,
        "started_unix_ns": 1_700_000_000_000_000_000,
        "started_ns": 0,
    }
    return DispatchStarted(**{**fields, **further})


def call(name: str = "read", start_ms: int = 0, end_ms: int = 10, **further: Any) -> CallRecord:
    return CallRecord("call_1", name, "{}", ok=True, started_ns=start_ms * MS, ended_ns=end_ms * MS, **further)


def turn(
    number: int, *calls: CallRecord, request_id: int | None = None, name: str = "0001-debug-todo-1", **further: Any
) -> TurnRecord:
    return TurnRecord(
        name, number, request_id, "", "", calls, "stop", number * 100 * MS, (number + 1) * 100 * MS, **further
    )


def ended(
    requests: list[RequestRecord], turns: list[TurnRecord], name: str = "0001-debug-todo-1", **further: Any
) -> DispatchRecord:
    fields: dict[str, Any] = {
        "dispatch_id": name,
        "exit_status": "submitted",
        "outcome": Outcome("partial", 0.5, {"fixed": 5}, ("5 of 10 repaired",)),
        "detections": (Detection("hallucinated_completion", True, "said: all tests pass; the verifier: 0.50", 3),),
        "metrics": {"turns": len(turns)},
        "totals": totals_of(requests, turns, wall_ns=1000 * MS),
        "final_message": "All tests pass.",
        "ended_unix_ns": 1_700_000_001_000_000_000,
    }
    return DispatchRecord(**{**fields, **further})


def request(
    request_id: int, *, cached: int | None = 80, session: str = "0001-debug-todo-1", **further: Any
) -> RequestRecord:
    """100 prompt tokens, 10 generated; prefill of 20 ms and decode of 30 ms, and 60 ms in all."""
    evidence = Evidence(
        prompt_tokens=100,
        cached_tokens=cached,
        evaluated_tokens=100 - cached if cached is not None else None,
        generated_tokens=10,
        prefill_ns=20 * MS,
        decode_ns=30 * MS,
    )
    match = Match(lcp_tokens=90, prev_tokens=90, continuation=True)
    fields: dict[str, Any] = {
        "request_id": request_id,
        "session": session,
        "conversation": "main",
        "turn": request_id - 1,
        "repeat": 0,
        "fidelity": "dispatch",
        "forcing": "none",
        "sent_unix_ns": 1,
        "stamps": Stamps(sent_ns=0, first_sign_ns=MS, first_delta_ns=25 * MS, last_delta_ns=55 * MS, done_ns=60 * MS),
        "evidence": evidence,
        "reply": Reply({"content": "ok"}, stop_reason="stop"),
        "verdict": judge(match, evidence, prefill_ns=evidence.prefill_ns),
    }
    return RequestRecord(**{**fields, **further})
