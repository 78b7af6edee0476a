"""From the records of a cache run to its document: a row per session, the verdict, and every request. Pure.

Averages are token-weighted (Σ tokens / Σ time), and nothing is summed over what is not known.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from profiler.document import CacheDocument, Calibrated, EngineName, RequestRow, Residency, SessionRow
from profiler.probe_records import CalibrationRecord
from profiler.records import Forcing, Guard, RequestRecord, RunClosed, RunInfo
from profiler.stability import exact, is_inferring, judged_of, lost, seconds, share_bounds, stability

Guards = Mapping[int, tuple[Guard, ...]]

MIN_SAMPLES_P95 = 20
"""A 95th percentile needs at least one sample beyond it."""


def summarise(
    info: RunInfo,
    records: Sequence[RequestRecord],
    *,
    guards: Guards | None = None,
    doubts: tuple[Guard, ...] = (),
    notes: tuple[str, ...] = (),
    closed: RunClosed | None = None,
    residency: Residency | None = None,
) -> CacheDocument:
    """The document of a run, also of an unfinished one. `guards` says what to doubt, by request id."""
    guards = guards or {}
    provoked: dict[str, dict[str, str]] = info.settings.get("sessions", {})
    names = list(dict.fromkeys(r.session for r in records))
    rows = tuple(
        _session_row(
            name,
            provoked.get(name, {}),
            [r for r in records if r.session == name],
            guards,
            inferring=is_inferring(info),
        )
        for name in names
    )
    return CacheDocument(
        schema=info.schema,
        run=info.run_id,
        status=closed.status if closed else "unfinished",
        target=info.target,
        engine=EngineName(info.facts.engine, info.facts.build),
        machine=info.machine,
        verdict=stability(rows, records, info),
        sessions=rows,
        requests=tuple(_request_row(r, guards.get(r.request_id, ())) for r in records),
        doubts=doubts,
        notes=notes,
        residency=residency,
        probe=info.probe,
        calibration=_calibrated(info.calibration),
    )


def _calibrated(record: CalibrationRecord | None) -> Calibrated | None:
    if record is None:
        return None
    longest = max((sample.prompt_tokens for sample in record.samples), default=None)
    return Calibrated(len(record.samples), longest, record.fit is not None)


def _session_row(
    name: str, provoked: Mapping[str, str], records: Sequence[RequestRecord], guards: Guards, *, inferring: bool
) -> SessionRow:
    continuations = [r for r in records if r.verdict.continuation]
    counted = [r.verdict.cache_class for r in continuations]
    ttft = sorted(r.ttft_ns for r in records if r.ttft_ns is not None)
    judged = judged_of(records, inferring=inferring)
    later = [r for r in judged if r.verdict.continuation]
    history = share_bounds(later, lambda verdict: verdict.history_tokens)
    forcing: dict[Forcing, int] = {}
    for record in records:
        forcing[record.forcing] = forcing.get(record.forcing, 0) + 1
    return SessionRow(
        name=name,
        provokes=provoked.get("provokes", "unknown"),
        side=provoked.get("side", "unknown"),
        requests=len(records),
        continuations=len(continuations),
        hit=counted.count("hit"),
        partial=counted.count("partial"),
        full_miss=counted.count("full_miss"),
        unknown=counted.count("unknown"),
        branch=sum(r.verdict.cache_class == "branch" for r in records),
        cold=sum(r.verdict.cache_class == "cold" for r in records),
        errors=sum(r.error is not None for r in records),
        reuse_efficiency=exact(share_bounds(later, lambda verdict: verdict.reusable_tokens)),
        history_reused=exact(history),
        lost_prompt_side_tokens=lost(judged, lambda verdict: verdict.lost_prompt_side_tokens),
        lost_engine_side_tokens=lost(judged, lambda verdict: verdict.lost_engine_side_tokens),
        lost_prompt_side_s=seconds(lost(judged, lambda verdict: verdict.lost_prompt_side_ns)),
        lost_engine_side_s=seconds(lost(judged, lambda verdict: verdict.lost_engine_side_ns)),
        lost_s=seconds(lost(judged, lambda verdict: verdict.lost_ns)),
        prefill_tokens_per_s=_pooled_rate(records, lambda r: (r.evidence.evaluated_tokens, r.evidence.prefill_ns)),
        decode_tokens_per_s=_pooled_rate(records, _decode),
        ttft_median_ns=statistics.median(ttft) if ttft else None,
        ttft_p95_ns=statistics.quantiles(ttft, n=20)[-1] if len(ttft) >= MIN_SAMPLES_P95 else None,
        forcing=forcing,
        doubtful=sum(any(g.severity == "doubtful" for g in guards.get(r.request_id, ())) for r in records),
        lost_tokens=lost(judged, lambda verdict: verdict.lost_tokens),
        history_reused_low=None if history is None else history[0],
        history_reused_high=None if history is None else history[1],
    )


def _request_row(record: RequestRecord, guards: Sequence[Guard]) -> RequestRow:
    verdict = record.verdict
    return RequestRow(
        session=record.session,
        conversation=record.conversation,
        turn=record.turn,
        repeat=record.repeat,
        prompt_tokens=verdict.prompt_tokens,
        cached_tokens=verdict.cached_tokens,
        cached_source=verdict.cached_source,
        lcp_tokens=verdict.lcp_tokens,
        prev_tokens=verdict.prev_tokens,
        cache_class=verdict.cache_class,
        lost_prompt_side_tokens=verdict.lost_prompt_side_tokens,
        lost_engine_side_tokens=verdict.lost_engine_side_tokens,
        lost_s=None if verdict.lost_ns is None else verdict.lost_ns / 1e9,
        confidence=verdict.confidence,
        generated_tokens=record.evidence.generated_tokens,
        ttft_ns=record.ttft_ns,
        tpot_ns=record.tpot_ns,
        prefill_tokens_per_s=record.prefill_tokens_per_s,
        decode_tokens_per_s=record.decode_tokens_per_s,
        client_prefill_tokens_per_s=record.client_prefill_tokens_per_s,
        engine_decode_tokens_per_s=record.engine_decode_tokens_per_s,
        decode_disagreement=record.decode_disagreement,
        forcing=record.forcing,
        note=verdict.note,
        guards=tuple(g.code for g in guards),
        error=f"{record.error.kind}: {record.error.message}" if record.error else None,
        lost_tokens=verdict.lost_tokens,
        cached_low_tokens=verdict.cached_low_tokens,
        cached_high_tokens=verdict.cached_high_tokens,
    )


def _decode(record: RequestRecord) -> tuple[int | None, int | None]:
    n = record.evidence.generated_tokens
    return (None if n is None else n - 1), record.decode_span_ns


def _pooled_rate(
    records: Iterable[RequestRecord], of: Callable[[RequestRecord], tuple[int | None, int | None]]
) -> float | None:
    """Σ tokens / Σ time over the requests that have both: token-weighted, not a mean of rates."""
    tokens = duration_ns = 0
    for n, span_ns in map(of, records):
        if n and span_ns:
            tokens, duration_ns = tokens + n, duration_ns + span_ns
    return tokens / (duration_ns / 1e9) if tokens and duration_ns else None
