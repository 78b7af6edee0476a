"""A run's records as rows of the tables: one dictionary a row, with every column of `harness.history.tables`. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from harness.history.dispatch_rows import call_rows, dispatch_rows, loss_rows, time_of, turn_rows
from harness.history.facts import beginning, facts_of, work_of
from harness.history.stored import StoredWork
from profiler.records import RequestRecord
from profiler.residency.records import ResidencySample

__all__ = ["ROWS", "Row", "run_row"]

Row = dict[str, Any]


def run_row(name: str, work: StoredWork) -> Row:
    """The row of the run itself, with its key figures."""
    run, info, facts = work.run, work.run.info, work.run.info.facts
    closed = run.closed
    return {
        "run": name,
        "experiment": work.experiment,
        "command": info.command,
        "status": closed.status if closed else None,
        "target": info.target,
        "engine": facts.engine,
        "build": facts.build,
        "model": facts.model,
        "architecture": facts.architecture,
        "quant": facts.quant,
        "cache_kind": facts.cache_kind,
        "template_sha256": facts.template_sha256,
        "fidelity": _several([*(r.fidelity for r in run.requests), *(d.started.fidelity for d in work.dispatches)]),
        "forcing": _several(record.forcing for record in run.requests),
        "start": beginning(run.requests),
        "setting": _several(one.started.setting for one in work.dispatches),
        "work": work_of(info, run.requests, work.dispatches),
        "facts": _json(facts_of(info, run.requests, work.dispatches, work.cache_state)),
        "settings": _json(info.settings),
        "system": info.machine.system,
        "cpu": info.machine.cpu,
        "dyno_version": info.versions.get("llmdyno"),
        "gpus": list(info.machine.gpus),
        "notes": list(work.notes),
        "started_at": time_of(info.started_unix_ns),
        "ended_at": time_of(closed.ended_unix_ns) if closed else None,
        "launched": facts.launched,
        "context_tokens": facts.context_tokens,
        "slots": facts.slots,
        "cores_logical": info.machine.cores_logical,
        "memory_bytes": info.machine.memory_bytes,
        **_figures(work),
    }


def _figures(work: StoredWork) -> Row:
    requests, ended = work.run.requests, [one.ended for one in work.dispatches if one.ended is not None]
    whole = [record for record in requests if record.error is None]
    judged = [one for one in ended if one.outcome.valid and one.outcome.verified != "not_run"]
    passed = [one for one in judged if one.outcome.verified == "pass"]
    prompt, cached = (_sum(getattr(r.evidence, name) for r in whole) for name in ("prompt_tokens", "cached_tokens"))
    lost_ns = _sum(record.verdict.lost_ns for record in whole)
    return {
        "requests": len(requests),
        "errors": len(requests) - len(whole),
        "dispatches": len(work.dispatches),
        "verified": len(judged),
        "passed": len(passed),
        "prompt_tokens": prompt,
        "cached_tokens": cached,
        "generated_tokens": _sum(record.evidence.generated_tokens for record in whole),
        "lost_tokens": _sum(record.verdict.lost_tokens for record in whole),
        "peak_memory_bytes": max((s.must_have_bytes or 0 for s in work.run.residency), default=0) or None,
        "lost_s": None if lost_ns is None else lost_ns / 1e9,
        "cached_share": cached / prompt if cached is not None and prompt else None,
        "prefill_tokens_per_s": _rate(whole),
        "decode_tokens_per_s": _median(record.decode_tokens_per_s for record in whole),
        "ttft_s": _median(record.ttft_ns / 1e9 for record in whole if record.ttft_ns is not None),
        "time_to_success_s": _median(one.totals.wall_ns / 1e9 for one in passed),
    }


def _request_rows(name: str, work: StoredWork) -> Iterator[Row]:
    for record in work.run.requests:
        evidence, verdict = record.evidence, record.verdict
        yield {
            "run": name,
            "request_id": record.request_id,
            "session": record.session,
            "conversation": record.conversation,
            "fidelity": record.fidelity,
            "forcing": record.forcing,
            "stop_reason": record.reply.stop_reason,
            "error_kind": record.error.kind if record.error else None,
            "error": record.error.message if record.error else None,
            "engine": record.engine,
            "cache_class": verdict.cache_class,
            "cached_source": verdict.cached_source,
            "confidence": verdict.confidence,
            "note": verdict.note,
            "sent_at": time_of(record.sent_unix_ns),
            "continuation": verdict.continuation,
            "turn": record.turn,
            "repeat": record.repeat,
            "sent_ns": record.stamps.sent_ns,
            "ttft_ns": record.ttft_ns,
            "ttfr_ns": record.ttfr_ns,
            "e2e_ns": record.e2e_ns,
            "prefill_ns": evidence.prefill_ns,
            "decode_ns": evidence.decode_ns,
            "prompt_tokens": evidence.prompt_tokens,
            "cached_tokens": evidence.cached_tokens,
            "evaluated_tokens": evidence.evaluated_tokens,
            "generated_tokens": evidence.generated_tokens,
            "slot": evidence.slot,
            "cached_low_tokens": verdict.cached_low_tokens,
            "cached_high_tokens": verdict.cached_high_tokens,
            "lcp_tokens": verdict.lcp_tokens,
            "prev_tokens": verdict.prev_tokens,
            "reusable_tokens": verdict.reusable_tokens,
            "lost_prompt_side_tokens": verdict.lost_prompt_side_tokens,
            "lost_engine_side_tokens": verdict.lost_engine_side_tokens,
            "lost_tokens": verdict.lost_tokens,
            "lost_prompt_side_ns": verdict.lost_prompt_side_ns,
            "lost_engine_side_ns": verdict.lost_engine_side_ns,
            "lost_ns": verdict.lost_ns,
            "tpot_ns": record.tpot_ns,
            "prefill_tokens_per_s": record.prefill_tokens_per_s,
            "decode_tokens_per_s": record.decode_tokens_per_s,
            "engine_decode_tokens_per_s": record.engine_decode_tokens_per_s,
        }


def _residency_rows(name: str, work: StoredWork) -> Iterator[Row]:
    for sample in work.run.residency:
        yield {
            "run": name,
            "source": sample.source,
            "at_ns": sample.at_ns,
            "lateness_ns": sample.lateness_ns,
            "processes": sample.processes,
            "must_have_bytes": sample.must_have_bytes,
            "file_bytes": sample.file_bytes,
            "rss_bytes": sample.rss_bytes,
            "swap_bytes": sample.swap_bytes,
            "gpu_bytes": _gpu_bytes(sample),
            "gpu_power_w": _added(gpu.power_w for gpu in sample.gpus),
        }


def _guard_rows(name: str, work: StoredWork) -> Iterator[Row]:
    return ({"run": name, **msgspec.structs.asdict(sample)} for sample in work.run.guards)


def _anchor_rows(name: str, work: StoredWork) -> Iterator[Row]:
    return ({"run": name, **msgspec.structs.asdict(sample)} for sample in work.run.anchors)


ROWS: Final[dict[str, Callable[[str, StoredWork], Iterator[Row]]]] = {
    "requests": _request_rows,
    "dispatches": dispatch_rows,
    "turns": turn_rows,
    "calls": call_rows,
    "losses": loss_rows,
    "residency": _residency_rows,
    "guards": _guard_rows,
    "anchors": _anchor_rows,
}
"""The rows of every table but `runs`, by the name of the run and what it holds."""


def _gpu_bytes(sample: ResidencySample) -> int | None:
    return _sum(gpu.engine_bytes for gpu in sample.gpus) if sample.gpus else None


def _rate(requests: Iterable[RequestRecord]) -> float | None:
    known = [(r.evidence.evaluated_tokens, r.evidence.prefill_ns) for r in requests]
    timed = [(tokens, ns) for tokens, ns in known if tokens and ns]
    return sum(tokens for tokens, _ in timed) / (sum(ns for _, ns in timed) / 1e9) if timed else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _sum(values: Iterable[int | None]) -> int | None:
    """As in `profiler.dispatch_totals`: half a sum would look like a whole one."""
    total, any_value = 0, False
    for value in values:
        if value is None:
            return None
        total, any_value = total + value, True
    return total if any_value else None


def _added(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _several(words: Iterable[str]) -> str | None:
    return ", ".join(sorted(set(words))) or None


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
