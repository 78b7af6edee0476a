"""The figures of a candidate that a choice rests on, each with its interval, its n and how it was found.

Two candidates are compared on a figure only where it was found in the same way: a prediction says nothing against a
measurement. `quality` is the KLD where it was measured, all near-lossless members alike; else bits per weight stand in
for it, up to what is near-lossless in the models that were published.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec
import numpy as np

from harness.quant.base import CandidateResult, Flips, RateAt, TaskResult, Wanted
from harness.quant.call_evidence import fewer_calls_right
from harness.quant.damage import CONFIDENCE, NEAR_LOSSLESS, band_of, interval_of
from harness.quant.memory import full_context
from harness.stats import rate_interval
from harness.stats.locations import student
from harness.stats.pairing import units_of
from profiler.speed.base import SpeedPoint, SpeedPrediction

__all__ = [
    "BETTER", "CONFIDENCE", "KV_BITS", "NEAR_LOSSLESS_BITS", "NEAR_LOSSLESS_KV_BITS", "Axis", "Figure", "Figures",
    "figures_of",
    "interval_of", "point_at", "rate_at", "rate_figure",
]  # fmt: skip

Axis = Literal["memory_bytes", "decode_per_s", "quality", "kv_bits", "calls", "tasks", "cache_misses", "dispatch_s"]
BETTER: Final[dict[Axis, Literal["lower", "higher"]]] = {
    "memory_bytes": "lower",
    "decode_per_s": "higher",
    "quality": "lower",
    "kv_bits": "lower",
    "calls": "lower",
    "tasks": "higher",
    "cache_misses": "lower",
    "dispatch_s": "lower",
}

PREDICTED_MEMORY_ERROR: Final = 0.1
"""A prediction of memory counts as exact to this share: its worst case in our own tests."""
NEAR_LOSSLESS_BITS: Final = 6.5
"""Bits per weight from which no published model of ours lost anything that tasks showed (Q6_K, MLX 6-bit)."""
NEAR_LOSSLESS_KV_BITS: Final = 8.5
KV_BITS: Final[dict[str, float]] = {
    "f32": 32, "f16": 16, "bf16": 16, "q8_0": 8.5, "q5_1": 6, "q5_0": 5.5, "q4_1": 5, "q4_0": 4.5, "iq4_nl": 4.5,
}  # fmt: skip


class Figure(msgspec.Struct, frozen=True):
    """A value with its interval; `found` says how, and only figures that were found alike are compared.

    `told` says whether `low` and `high` are an interval; without one they are the value.
    """

    value: float
    low: float
    high: float
    told: bool
    found: str
    n: int


Figures = dict[Axis, Figure]


def figures_of(result: CandidateResult, wanted: Wanted) -> Figures:
    """What is known of a candidate; an axis that is not known is left out."""
    found: dict[Axis, Figure | None] = {
        "memory_bytes": _memory(result, wanted),
        "decode_per_s": _decode(result, wanted),
        "quality": _quality(result),
        "kv_bits": None if result.quality is not None else _kv_bits(result.candidate.kv),
        "calls": _calls(result.flips),
    }
    if result.measured is not None:
        found["tasks"] = _success(result.measured.tasks)
        found["dispatch_s"] = _dispatch(result.measured.tasks)
        found["cache_misses"] = _misses(result)
    return {axis: figure for axis, figure in found.items() if figure is not None}


def rate_at(rates: tuple[RateAt, ...], context_tokens: int) -> RateAt | None:
    """The measurement at the user's depth: the deepest that his context reaches, else the shallowest."""
    decoded = sorted((rate for rate in rates if rate.decode_tokens_per_s), key=lambda rate: rate.depth_tokens)
    inside = [rate for rate in decoded if rate.depth_tokens <= context_tokens]
    return inside[-1] if inside else decoded[0] if decoded else None


def point_at(speed: SpeedPrediction | None, depth_tokens: int) -> SpeedPoint | None:
    """The prediction that is nearest to a depth; of two that are as near, the deeper."""
    points = speed.points if speed else ()
    return min(points, key=lambda one: (abs(one.depth_tokens - depth_tokens), -one.depth_tokens), default=None)


def rate_figure(values: tuple[float, ...], found: str) -> Figure | None:
    """The geometric mean of repeats with Student's interval of the logarithms; `None` of nothing.

    Rates differ by factors, and one below zero does not exist.
    """
    known = np.asarray([value for value in values if value > 0], dtype=np.float64)
    if not known.size:
        return None
    located = student(np.log(known), CONFIDENCE)
    value, low, high = (float(np.exp(each)) for each in (located.value, located.low, located.high))
    return _with_bounds(value, low, high, found, int(known.size))


def _memory(result: CandidateResult, wanted: Wanted) -> Figure | None:
    found = full_context(result, wanted)
    if found is None:
        return None
    if found.measured:
        how = "measured, the rest of the context predicted" if found.growth_bytes else "measured"
        return Figure(found.bytes, found.bytes, found.bytes, True, how, 1)
    room = found.bytes * PREDICTED_MEMORY_ERROR
    return Figure(found.bytes, found.bytes - room, found.bytes + room, True, "predicted", 1)


def _decode(result: CandidateResult, wanted: Wanted) -> Figure | None:
    rate = rate_at(result.measured.rates, wanted.context_tokens) if result.measured else None
    if rate is not None:
        return rate_figure(rate.decode_tokens_per_s, f"measured at {rate.depth_tokens}")
    point = point_at(result.predicted.speed, wanted.context_tokens) if result.predicted else None
    if point is None or point.decode_tokens_per_s is None:
        return None
    return _without_bounds(point.decode_tokens_per_s, f"predicted at {point.depth_tokens}", 1)


def _quality(result: CandidateResult) -> Figure:
    if result.quality is None:
        missing = max(0.0, NEAR_LOSSLESS_BITS - result.candidate.model.bits_per_weight)
        return Figure(missing, missing, missing, True, "bits", 0)
    found = f"KLD against {result.quality.reference}"
    n = result.quality.kld.n_chunks
    if band_of(result.quality) in NEAR_LOSSLESS:
        return Figure(0.0, 0.0, 0.0, True, found, n)
    bounds = interval_of(result.quality.kld)
    value = result.quality.kld.value
    # A tie is told from what lies outside it, with or without an interval.
    return Figure(value, *(bounds or (value, value)), told=True, found=found, n=n)


def _kv_bits(kv: str) -> Figure:
    bits = KV_BITS.get(kv.lower())
    if bits is None:
        return Figure(0.0, 0.0, 0.0, True, f"kv {kv}", 0)
    missing = max(0.0, NEAR_LOSSLESS_KV_BITS - bits)
    return Figure(missing, missing, missing, True, "kv bits", 0)


def _calls(flips: Flips | None) -> Figure | None:
    """1 where it is shown that more calls became wrong than right, else 0: a few flips more are not worse."""
    if flips is None or not flips.positions:
        return None
    shown = float(fewer_calls_right(flips))
    return Figure(shown, shown, shown, True, "calls", flips.positions)


def _success(tasks: tuple[TaskResult, ...]) -> Figure | None:
    judged = [task.success for task in tasks if task.success is not None]
    if judged:
        return _share(sum(judged), len(judged), "success")
    scored = [(task.task, task.score) for task in tasks if task.score is not None]
    return _over_tasks(scored, "score")


def _dispatch(tasks: tuple[TaskResult, ...]) -> Figure | None:
    return _over_tasks([(task.task, task.wall_s) for task in tasks], "seconds")


def _over_tasks(values: list[tuple[str, float]], found: str) -> Figure | None:
    if not values:
        return None
    units = units_of([task for task, _ in values], [value for _, value in values])
    located = student(units.values, CONFIDENCE)
    return _with_bounds(float(located.value), float(located.low), float(located.high), found, len(values))


def _misses(result: CandidateResult) -> Figure | None:
    cache = result.measured.cache if result.measured else None
    if cache is None or cache.full_miss_rate is None or not cache.continuations:
        return None
    return _share(round(cache.full_miss_rate * cache.continuations), cache.continuations, "full misses")


def _share(hits: int, n: int, found: str) -> Figure:
    interval = rate_interval(hits, n, CONFIDENCE)
    if interval is None or interval.low is None or interval.high is None:
        return _without_bounds(hits / n, found, n)
    return Figure(hits / n, interval.low, interval.high, True, found, n)


def _with_bounds(value: float, low: float, high: float, found: str, n: int) -> Figure:
    if math.isnan(low) or math.isnan(high):
        return _without_bounds(value, found, n)
    return Figure(value, low, high, True, found, n)


def _without_bounds(value: float, found: str, n: int) -> Figure:
    return Figure(value, value, value, False, found, n)
