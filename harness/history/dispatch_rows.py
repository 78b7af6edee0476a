"""What agents left in a run, as rows of the tables. Pure; `harness.history.run_rows` has the others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from harness.experiment.store import CellBegun
from harness.history.stored import StoredWork
from profiler.dispatch_records import DispatchRecord
from profiler.dispatch_store import StoredDispatch

__all__ = ["call_rows", "dispatch_rows", "loss_rows", "time_of", "turn_rows"]

Row = dict[str, Any]

_TOTALS = (
    "requests", "turns", "calls", "wall_ns", "engine_ns", "tool_ns", "overhead_ns", "prefill_ns", "decode_ns",
    "ttft_ns", "prompt_tokens", "cached_tokens", "evaluated_tokens", "generated_tokens", "lost_tokens", "lost_ns",
    "session_bytes", "peak_memory_bytes",
)  # fmt: skip


def dispatch_rows(name: str, work: StoredWork) -> Iterator[Row]:
    """A row for every dispatch that began."""
    for one in work.dispatches:
        started, cell = one.started, _cell(work, one)
        yield {
            "run": name,
            "dispatch_id": started.dispatch_id,
            "task": started.task,
            "task_sha256": started.task_sha256,
            "pack": started.pack,
            "setting": started.setting,
            "setting_fingerprint": started.setting_fingerprint,
            "actor": started.actor,
            "agent": started.agent,
            "fidelity": started.fidelity,
            "target": started.target,
            "arm": cell.arm if cell else None,
            "started_at": time_of(started.started_unix_ns),
            "warm_up": cell.warm_up if cell else None,
            "fresh": cell.fresh if cell else None,
            "seed": started.seed,
            "block": cell.block if cell else None,
            "started_ns": started.started_ns,
            **_ended(one.ended),
        }


def turn_rows(name: str, work: StoredWork) -> Iterator[Row]:
    """A row for every turn."""
    for one in work.dispatches:
        for turn in one.turns:
            yield {
                "run": name,
                "dispatch_id": turn.dispatch_id,
                "request_id": turn.request_id,
                "stop_reason": turn.stop_reason,
                "error": turn.error.message if turn.error else None,
                "events": list(turn.events),
                "turn": turn.turn,
                "calls": len(turn.calls),
                "faults": sum(call.fault is not None for call in turn.calls),
                "content_chars": len(turn.content),
                "reasoning_chars": len(turn.reasoning),
                "started_ns": turn.started_ns,
                "duration_ns": turn.ended_ns - turn.started_ns,
            }


def call_rows(name: str, work: StoredWork) -> Iterator[Row]:
    """A row for every tool call."""
    for one in work.dispatches:
        for turn in one.turns:
            for call in turn.calls:
                yield {
                    "run": name,
                    "dispatch_id": turn.dispatch_id,
                    "call_id": call.call_id,
                    "name": call.name,
                    "effect": call.effect,
                    "origin": call.origin,
                    "fault": call.fault,
                    "changed": list(call.changed),
                    "ok": call.ok,
                    "timed_out": call.timed_out,
                    "denied": call.denied,
                    "turn": turn.turn,
                    "exit_code": call.exit_code,
                    "duration_ns": call.duration_ns,
                    "result_bytes": call.result_bytes,
                    "lines_added": call.lines_added,
                    "lines_removed": call.lines_removed,
                }


def loss_rows(name: str, work: StoredWork) -> Iterator[Row]:
    """A row for every cause that a dispatch lost tokens to."""
    for one in work.dispatches:
        for cause, lost_s in (one.ended.totals.lost_by_cause_s if one.ended else {}).items():
            yield {"run": name, "dispatch_id": one.started.dispatch_id, "cause": cause, "lost_s": lost_s}


def time_of(unix_ns: int) -> str | None:
    """A time as DuckDB reads it, UTC to the microsecond; `None` for one that no calendar has."""
    try:
        return datetime.fromtimestamp(unix_ns // 1_000 / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    except (ValueError, OverflowError, OSError):
        return None


def _ended(record: DispatchRecord | None) -> Row:
    return {
        "exit_status": record.exit_status if record else None,
        "verified": record.outcome.verified if record else None,
        "error": record.error.message if record and record.error else None,
        "detections": [seen.code for seen in record.detections] if record else None,
        "changed_files": list(record.changed_files) if record else None,
        "valid": record.outcome.valid if record else None,
        "score": record.outcome.score if record else None,
        **{name: getattr(record.totals, name) if record else None for name in _TOTALS},
    }


def _cell(work: StoredWork, one: StoredDispatch) -> CellBegun | None:
    number = one.started.dispatch_id.partition("-")[0]
    return work.cells.get(int(number)) if number.isdecimal() else None
