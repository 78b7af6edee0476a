"""The document of a comparison of quants (`dyno quant --json`), from what is known of each candidate. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from harness.quant.base import CandidateResult, Wanted
from harness.quant.damage import BAND_WORDS, band_of, interval_of
from harness.quant.figures import (
    Figure,
    figures_of,
    point_at,
    rate_at,
    rate_figure,
)
from harness.quant.memory import at_fill, full_context, measured_memory, must_have, predicted_memory
from harness.quant.need import Excluded
from harness.quant.recommend import recommend
from harness.quant.recommendation import Judged, Recommendation
from harness.stats.success import mcnemar_p
from profiler.fit.base import Basis, Part
from profiler.quant_document import (
    CacheRow,
    FlipsRow,
    MemoryRow,
    PartRow,
    QualityRow,
    QuantDocument,
    QuantRow,
    RateRow,
    SpeedRow,
    TasksRow,
    TypeRow,
    VerdictRow,
)

__all__ = ["document_of"]

_SUREST_FIRST: Final[tuple[Basis, ...]] = ("engine plan", "formula", "table")


def document_of(
    results: Sequence[CandidateResult],
    wanted: Wanted,
    *,
    machine: str | None = None,
    rehearsed: bool = False,
    complete: bool = True,
    directory: str | None = None,
    notes: tuple[str, ...] = (),
) -> QuantDocument:
    """The document, with the recommendation (`harness.quant.recommend`). `machine` is what the answer is for, in words.

    Raises:
        ValueError: two candidates have one name, or one has two results of one task and repeat.
    """
    found = recommend(results, wanted, rehearsed=rehearsed)
    judged = {one.name: one for one in found.judged}
    excluded = {one.name: one for one in found.excluded}
    rows = [_row(one, wanted, judged, excluded) for one in results]
    return QuantDocument(
        context_tokens=wanted.context_tokens,
        slots=wanted.slots,
        memory_limit_bytes=wanted.memory_bytes,
        least_decode_per_s=wanted.least_decode_per_s,
        machine=machine,
        verdict=_verdict(found),
        candidates=tuple(sorted(rows, key=_best_first)),
        rehearsed=rehearsed,
        complete=complete,
        directory=directory,
        notes=notes,
    )


def _best_first(row: QuantRow) -> tuple[bool, bool, int, float, str]:
    return row.excluded is not None, row.place is None, row.place or 0, -row.bits_per_weight, row.name


def _verdict(found: Recommendation) -> VerdictRow:
    return VerdictRow(
        answer=found.answer,
        chosen=found.chosen,
        reason=found.reason,
        details=found.details,
        runner_up=found.runner_up,
        runner_up_cost=found.runner_up_cost,
        run=found.run,
        doubts=found.doubts,
    )


def _row(
    one: CandidateResult, wanted: Wanted, judged: Mapping[str, Judged], excluded: Mapping[str, Excluded]
) -> QuantRow:
    model, name = one.candidate.model, one.candidate.name
    of, out = judged.get(name), excluded.get(name)
    return QuantRow(
        name=name,
        path=str(model.path),
        target=str(one.candidate.target),
        container=model.container,
        architecture=model.architecture,
        label=model.label,
        kv=one.candidate.kv,
        types=tuple(TypeRow(each.type, each.tensors, each.parameters, each.bytes) for each in model.types),
        bits_per_weight=model.bits_per_weight,
        tensor_bytes=model.tensor_bytes,
        parameters=model.parameters,
        active_bytes=model.active_bytes,
        active_parameters=model.active_parameters,
        model_notes=model.notes,
        place=of.place if of else None,
        beaten_by=of.beaten_by if of else None,
        excluded=out.why if out else None,
        excluded_reason=out.reason if out else None,
        memory=_memory(one, wanted),
        speed=_speed(one, wanted),
        quality=_quality(one, tie=of is not None and of.tie),
        flips=_flips(one),
        cache=_cache(one, wanted, of),
        tasks=_tasks(one, wanted, of),
        doubts=one.measured.doubts if one.measured else (),
    )


def _memory(one: CandidateResult, wanted: Wanted) -> MemoryRow:
    known, seen = one.predicted, one.measured
    predicted, measured = must_have(one)
    filled, whole = at_fill(one, wanted), full_context(one, wanted)
    prediction = known.memory if known else None
    bases = [part.basis for part in prediction.parts] if prediction else []
    return MemoryRow(
        predicted_bytes=predicted_memory(one),
        predicted_must_have_bytes=predicted,
        predicted_device_bytes=prediction.device_bytes if prediction else None,
        growth_bytes=prediction.growth_bytes if prediction else None,
        basis=max(bases, key=_SUREST_FIRST.index, default=None),
        parts=tuple(_part(part) for part in (prediction.parts if prediction else ())),
        missing=prediction.missing if prediction else (),
        measured_bytes=measured_memory(one),
        measured_must_have_bytes=measured,
        measured_peak_bytes=seen.must_have_peak_bytes if seen else None,
        measured_file_bytes=seen.file_bytes if seen else None,
        measured_device_bytes=seen.device_bytes if seen else None,
        measured_at_tokens=seen.filled_tokens if seen else None,
        predicted_at_fill_bytes=filled,
        error=measured / filled - 1 if measured is not None and filled else None,
        full_context_bytes=whole.bytes if whole else None,
        full_context_measured=whole.measured if whole else None,
        fits=known.fit.answer if known else None,
        fits_text=known.fit.text if known else None,
    )


def _part(part: Part) -> PartRow:
    return PartRow(
        part.what, part.bytes, part.place, part.basis, part.arithmetic, part.reclaimable, part.idle, part.at_most
    )


def _speed(one: CandidateResult, wanted: Wanted) -> SpeedRow:
    prediction = one.predicted.speed if one.predicted else None
    rates = one.measured.rates if one.measured else ()
    rate = rate_at(rates, wanted.context_tokens)
    point = point_at(prediction, rate.depth_tokens if rate else wanted.context_tokens)
    decode = rate_figure(rate.decode_tokens_per_s, "measured") if rate else None
    prefill = rate_figure(rate.prefill_tokens_per_s, "measured") if rate else None
    roofline = prediction.roofline_decode_tokens_per_s if prediction else None
    shallow = next((each for each in rates if each.depth_tokens == 0), None)
    at_zero = rate_figure(shallow.decode_tokens_per_s, "measured") if shallow else None
    return SpeedRow(
        depth_tokens=rate.depth_tokens if rate else None,
        decode_tokens_per_s=decode.value if decode else None,
        decode_low=_low(decode),
        decode_high=_high(decode),
        prefill_tokens_per_s=prefill.value if prefill else None,
        prefill_low=_low(prefill),
        prefill_high=_high(prefill),
        repeats=decode.n if decode else 0,
        predicted_depth_tokens=point.depth_tokens if point else None,
        predicted_decode_tokens_per_s=point.decode_tokens_per_s if point else None,
        predicted_prefill_tokens_per_s=point.prefill_tokens_per_s if point else None,
        basis=prediction.basis if prediction else None,
        roofline_decode_tokens_per_s=roofline,
        roofline_share=at_zero.value / roofline if at_zero and roofline else None,
        arithmetic=prediction.arithmetic if prediction else None,
        by_depth=tuple(_rate(one, each.depth_tokens) for each in rates),
        load_s=one.measured.load_s if one.measured else (),
        energy_j_per_token=one.measured.energy_j_per_token if one.measured else None,
    )


def _rate(one: CandidateResult, depth_tokens: int) -> RateRow:
    rates = one.measured.rates if one.measured else ()
    rate = next(each for each in rates if each.depth_tokens == depth_tokens)
    point = point_at(one.predicted.speed, depth_tokens) if one.predicted else None
    there = point if point is not None and point.depth_tokens == depth_tokens else None
    return RateRow(
        depth_tokens,
        rate.prefill_tokens_per_s,
        rate.decode_tokens_per_s,
        there.prefill_tokens_per_s if there else None,
        there.decode_tokens_per_s if there else None,
    )


def _quality(one: CandidateResult, *, tie: bool) -> QualityRow | None:
    quality = one.quality
    if quality is None:
        return None
    bounds, band = interval_of(quality.kld), band_of(quality)
    return QualityRow(
        reference=quality.reference,
        chunks=quality.chunks,
        scored_tokens=quality.scored_tokens,
        kld=quality.kld.value,
        kld_low=bounds[0] if bounds else None,
        kld_high=bounds[1] if bounds else None,
        kld_floor=quality.floor.value if quality.floor else None,
        kld_percentiles=quality.kld_percentiles,
        band=band,
        band_text=BAND_WORDS[band],
        tie=tie,
        perplexity=quality.perplexity.value,
        reference_perplexity=quality.reference_perplexity.value,
        log_perplexity_ratio=quality.log_perplexity_ratio.value,
        same_top=quality.same_top.value,
        rms_delta_p=quality.rms_delta_p.value,
    )


def _flips(one: CandidateResult) -> FlipsRow | None:
    flips = one.flips
    if flips is None:
        return None
    p = mcnemar_p(flips.down, flips.up)
    return FlipsRow(flips.positions, flips.changed, flips.tool, flips.argument, flips.validity, flips.up, flips.down, p)


def _cache(one: CandidateResult, wanted: Wanted, judged: Judged | None) -> CacheRow | None:
    cache = one.measured.cache if one.measured else None
    if cache is None:
        return None
    misses = figures_of(one, wanted).get("cache_misses")
    return CacheRow(
        continuations=cache.continuations,
        full_miss_rate=cache.full_miss_rate,
        full_miss_low=_low(misses),
        full_miss_high=_high(misses),
        reuse_efficiency=cache.reuse_efficiency,
        lost_s_per_dispatch=cache.lost_s_per_dispatch,
        unstable_against=judged.unstable_against if judged else None,
    )


def _tasks(one: CandidateResult, wanted: Wanted, judged: Judged | None) -> TasksRow | None:
    done = one.measured.tasks if one.measured else ()
    if not done:
        return None
    outcomes = [task.success for task in done if task.success is not None]
    scores = [task.score for task in done if task.score is not None]
    figures = figures_of(one, wanted)
    success, took = figures.get("tasks") if outcomes else None, figures.get("dispatch_s")
    evidence = judged.tasks if judged else None
    return TasksRow(
        dispatches=len(done),
        tasks=len({task.task for task in done}),
        judged=len(outcomes),
        passed=sum(outcomes),
        success_rate=success.value if success else None,
        success_low=_low(success),
        success_high=_high(success),
        score=sum(scores) / len(scores) if scores else None,
        dispatch_s=took.value if took else None,
        dispatch_low_s=_low(took),
        dispatch_high_s=_high(took),
        baseline=evidence.baseline if evidence else None,
        state=evidence.state if evidence else None,
        text=evidence.text if evidence else None,
        beside=evidence.beside if evidence else None,
    )


def _low(figure: Figure | None) -> float | None:
    return figure.low if figure and figure.told else None


def _high(figure: Figure | None) -> float | None:
    return figure.high if figure and figure.told else None
