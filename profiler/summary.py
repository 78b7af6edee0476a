"""From the records of a cache run to its document: a row per session, the verdict, and every request. Pure.

Averages are token-weighted (Σ tokens / Σ time), and nothing is summed over what is not known.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from profiler.document import CacheDocument, EngineName, RequestRow, Residency, SessionRow, Verdict
from profiler.records import (
    CacheVerdict,
    Forcing,
    Guard,
    RequestRecord,
    RunClosed,
    RunInfo,
)

Guards = Mapping[int, tuple[Guard, ...]]

STABLE_FULL_MISS_RATE = 0.05
STABLE_REUSE = 0.95
MIN_CONTINUATIONS = 10
"""Below this many judged continuations no verdict is given: one miss more or less would turn it."""
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
        _session_row(name, provoked.get(name, {}), [r for r in records if r.session == name], guards) for name in names
    )
    return CacheDocument(
        schema=info.schema,
        run=info.run_id,
        status=closed.status if closed else "unfinished",
        target=info.target,
        engine=EngineName(info.facts.engine, info.facts.build),
        machine=info.machine,
        verdict=_verdict(rows, records),
        sessions=rows,
        requests=tuple(_request_row(r, guards.get(r.request_id, ())) for r in records),
        doubts=doubts,
        notes=notes,
        residency=residency,
    )


def _verdict(rows: Sequence[SessionRow], records: Sequence[RequestRecord]) -> Verdict:
    clean = tuple(row.name for row in rows if row.side != "prompt")
    judged = clean or tuple(row.name for row in rows)
    chosen = [r for r in records if r.session in judged]
    known = [r for r in chosen if r.verdict.continuation and r.verdict.cache_class != "unknown" and not r.error]
    unknown = sum(r.verdict.continuation and r.verdict.cache_class == "unknown" for r in chosen)
    full = sum(r.verdict.cache_class == "full_miss" for r in known)
    rate = full / len(known) if known else None
    reuse = _reuse(known)
    prompt_s = _sum_s(r.verdict.lost_prompt_side_ns for r in chosen)
    engine_s = _sum_s(r.verdict.lost_engine_side_ns for r in chosen)
    lost = None if prompt_s is None or engine_s is None else prompt_s + engine_s
    replays = len({(r.session, r.repeat) for r in chosen})
    stable, reason = _stable(len(known), unknown, rate, reuse)
    return Verdict(
        stable=stable,
        reason=reason,
        judged_sessions=judged,
        continuations=len(known),
        full_miss_rate=rate,
        reuse_efficiency=reuse,
        lost_s=lost,
        lost_prompt_side_s=prompt_s,
        lost_engine_side_s=engine_s,
        lost_s_per_dispatch=lost / replays if lost is not None and replays else None,
    )


def _stable(known: int, unknown: int, rate: float | None, reuse: float | None) -> tuple[bool | None, str]:
    if rate is None or reuse is None:
        silent = "this engine does not say how many tokens it reused"
        return None, silent if unknown else "no continuation was measured"
    if known < MIN_CONTINUATIONS:
        return None, f"only {known} continuations were measured, {MIN_CONTINUATIONS} are needed"
    if rate > STABLE_FULL_MISS_RATE:
        return (
            False,
            f"{rate:.1%} of {known} continuations lost the whole cache (up to {STABLE_FULL_MISS_RATE:.0%} is stable)",
        )
    if reuse < STABLE_REUSE:
        return False, f"{reuse:.1%} of the reusable tokens were reused (from {STABLE_REUSE:.0%} on is stable)"
    return True, f"{reuse:.1%} of the reusable tokens were reused, {rate:.1%} of {known} continuations were full misses"


def _session_row(
    name: str, provoked: Mapping[str, str], records: Sequence[RequestRecord], guards: Guards
) -> SessionRow:
    continuations = [r for r in records if r.verdict.continuation]
    counted = [r.verdict.cache_class for r in continuations]
    ttft = sorted(r.ttft_ns for r in records if r.ttft_ns is not None)
    prompt_s = _sum_s(r.verdict.lost_prompt_side_ns for r in records)
    engine_s = _sum_s(r.verdict.lost_engine_side_ns for r in records)
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
        reuse_efficiency=_reuse(continuations),
        history_reused=_share_of(continuations, lambda v: v.history_tokens),
        lost_prompt_side_tokens=_sum(r.verdict.lost_prompt_side_tokens for r in records),
        lost_engine_side_tokens=_sum(r.verdict.lost_engine_side_tokens for r in records),
        lost_prompt_side_s=prompt_s,
        lost_engine_side_s=engine_s,
        lost_s=None if prompt_s is None or engine_s is None else prompt_s + engine_s,
        prefill_tokens_per_s=_pooled_rate(records, lambda r: (r.evidence.evaluated_tokens, r.evidence.prefill_ns)),
        decode_tokens_per_s=_pooled_rate(records, _decode),
        ttft_median_ns=statistics.median(ttft) if ttft else None,
        ttft_p95_ns=statistics.quantiles(ttft, n=20)[-1] if len(ttft) >= MIN_SAMPLES_P95 else None,
        forcing=forcing,
        doubtful=sum(any(g.severity == "doubtful" for g in guards.get(r.request_id, ())) for r in records),
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


def _reuse(records: Iterable[RequestRecord]) -> float | None:
    """Σ C / Σ min(L, P - 1): what the engine made of what it could reuse."""
    return _share_of(records, lambda verdict: verdict.reusable_tokens)


def _share_of(records: Iterable[RequestRecord], whole: Callable[[CacheVerdict], int | None]) -> float | None:
    """Σ C / Σ whole over requests where both are known; C beyond the whole (a warm engine) counts as the whole."""
    cached = total = 0
    for verdict in (r.verdict for r in records):
        tokens = whole(verdict)
        if verdict.cached_tokens is not None and tokens is not None:
            cached += min(verdict.cached_tokens, tokens)
            total += tokens
    return cached / total if total else None


def _sum(values: Iterable[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def _sum_s(values: Iterable[int | None]) -> float | None:
    total = _sum(values)
    return None if total is None else total / 1e9
