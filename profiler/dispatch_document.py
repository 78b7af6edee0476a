"""What `dyno run --json` prints: one dispatch, its turns, its time, its losses by cause, and what was seen in it. Pure.

The structs are the document; its JSON Schema is docs/run.schema.json, made from these types.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from profiler.causes.catalogue import kind_of
from profiler.dispatch_records import (
    CallRecord,
    Detection,
    DispatchStarted,
    ExitStatus,
    Outcome,
    Totals,
    TurnRecord,
)
from profiler.dispatch_store import StoredDispatch
from profiler.dispatch_totals import totals_of
from profiler.findings import Findings
from profiler.records import CacheClass, Failure, Guard, RequestRecord

__all__ = ["CallRow", "CauseRow", "DispatchDocument", "TurnRow", "dispatch_document", "turn_row"]

SCHEMA = 1


class CallRow(msgspec.Struct, frozen=True):
    """A tool call: `s` is how long it ran, `None` if it was not run; `fault` why not."""

    name: str
    ok: bool | None
    s: float | None
    result_bytes: int
    fault: str | None = None


class TurnRow(msgspec.Struct, frozen=True):
    """A turn: what its request cost and reused, and what it did. Rates in tokens a second, by the engine's times."""

    turn: int
    s: float
    calls: tuple[CallRow, ...]
    cache_class: CacheClass | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    lost_tokens: int | None = None
    causes: tuple[str, ...] = ()
    generated_tokens: int | None = None
    ttft_s: float | None = None
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    events: tuple[str, ...] = ()
    error: Failure | None = None


class CauseRow(msgspec.Struct, frozen=True):
    """A cause of lost tokens over the dispatch; `s` with its 95 % interval, `None` where no price could be told."""

    code: str
    title: str
    side: str
    requests: int
    tokens: int
    s: float | None
    low_s: float | None
    high_s: float | None


class DispatchDocument(msgspec.Struct, frozen=True):
    """One dispatch. Without an `exit_status` it was killed, or is still at work: everything up to then is here.

    `doubts` are reasons to distrust the times.
    """

    run_id: str
    started: DispatchStarted
    exit_status: ExitStatus | None
    outcome: Outcome | None
    detections: tuple[Detection, ...]
    metrics: dict[str, float | int | None]
    totals: Totals
    turns: tuple[TurnRow, ...]
    causes: tuple[CauseRow, ...]
    final_message: str
    changed_files: tuple[str, ...]
    error: Failure | None = None
    doubts: tuple[Guard, ...] = ()
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA


def dispatch_document(
    run_id: str,
    stored: StoredDispatch,
    requests: Sequence[RequestRecord],
    findings: Findings,
    *,
    doubts: tuple[Guard, ...] = (),
    notes: tuple[str, ...] = (),
) -> DispatchDocument:
    """The document of a stored dispatch, of its requests and of what these lost."""
    ended = stored.ended
    by_id = {record.request_id: record for record in requests}
    causes = {
        finding.record.request_id: tuple(charge.cause.code for charge in finding.charges)
        for finding in findings.findings
    }
    rows = tuple(
        turn_row(turn, by_id.get(turn.request_id or -1), causes.get(turn.request_id or -1, ())) for turn in stored.turns
    )
    last_ns = stored.turns[-1].ended_ns if stored.turns else stored.started.started_ns
    wall_ns = last_ns - stored.started.started_ns
    return DispatchDocument(
        run_id=run_id,
        started=stored.started,
        exit_status=ended.exit_status if ended else None,
        outcome=ended.outcome if ended else None,
        detections=ended.detections if ended else (),
        metrics=ended.metrics if ended else {},
        totals=ended.totals if ended else totals_of(requests, stored.turns, wall_ns=wall_ns, findings=findings),
        turns=rows,
        causes=_causes(findings),
        final_message=ended.final_message if ended else "",
        changed_files=ended.changed_files if ended else (),
        error=ended.error if ended else None,
        doubts=doubts,
        notes=notes,
    )


def turn_row(turn: TurnRecord, request: RequestRecord | None, causes: tuple[str, ...]) -> TurnRow:
    """A turn beside its request, of which `causes` are the codes of what it lost."""
    row = TurnRow(
        turn=turn.turn,
        s=(turn.ended_ns - turn.started_ns) / 1e9,
        calls=tuple(map(_call, turn.calls)),
        causes=causes,
        events=turn.events,
        error=turn.error,
    )
    if request is None:
        return row
    return msgspec.structs.replace(
        row,
        cache_class=request.verdict.cache_class,
        prompt_tokens=request.evidence.prompt_tokens,
        cached_tokens=request.verdict.cached_tokens,
        lost_tokens=request.verdict.lost_tokens,
        generated_tokens=request.evidence.generated_tokens,
        ttft_s=request.ttft_ns / 1e9 if request.ttft_ns is not None else None,
        prefill_tokens_per_s=request.prefill_tokens_per_s,
        decode_tokens_per_s=request.engine_decode_tokens_per_s or request.decode_tokens_per_s,
    )


def _call(call: CallRecord) -> CallRow:
    took = call.duration_ns
    return CallRow(call.name, call.ok, took / 1e9 if took is not None else None, call.result_bytes, call.fault)


def _causes(findings: Findings) -> tuple[CauseRow, ...]:
    return tuple(
        CauseRow(
            code=total.code,
            title=kind_of(total.code).title,
            side=kind_of(total.code).side,
            requests=total.requests,
            tokens=total.tokens,
            s=total.price.s if total.price else None,
            low_s=total.price.low_s if total.price else None,
            high_s=total.price.high_s if total.price else None,
        )
        for total in findings.totals
    )
