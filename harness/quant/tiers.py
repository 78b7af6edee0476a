"""In which order candidates that nothing beats are to be had: first by what they do, then by speed and memory.

A tier is a list of steps, each of which only evidence can set: measured or not, damaged or not, tasks, what KLD leaves
open, the cache. No candidate stands in a worse tier than one that is never better than it (`dominance.never_worse`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from harness.quant.base import CandidateResult
from harness.quant.call_evidence import fewer_calls_right
from harness.quant.damage import Band, band_of
from harness.quant.dominance import never_worse
from harness.quant.figures import BETTER, KV_BITS, NEAR_LOSSLESS_BITS, NEAR_LOSSLESS_KV_BITS, Axis, Figure, Figures
from harness.quant.task_evidence import TaskEvidence, TaskState, slower_than

__all__ = ["UNSTABLE_BY", "Tier", "is_measured", "ordered", "speed_axis", "speed_tie", "tiers_of", "unstable_against"]

UNSTABLE_BY: Final = 0.05
"""A candidate loses its cache too often if it does in so much larger a share of continuations than the best, and the
intervals do not overlap."""
_NEARLY_AS_FAST: Final = 0.1
"""Rates without an interval are a tie inside this share: a prediction, or a single repeat, knows no better."""
_TASK_STEP: Final[dict[TaskState, int]] = {"better": 0, "held": 1, "not shown": 1, "broken": 2, "worse": 3}
_BAND_STEP: Final[dict[Band, int]] = {"indistinguishable": 0, "silent": 0, "check": 1, "visible": 2, "damaged": 2}
_LEAST_BITS_TO_CHECK: Final = 4.0


class Tier(NamedTuple):
    """The steps, the weightiest first; 0 is the best of each."""

    unmeasured: int
    damaged: int
    tasks: int
    unproven: int
    cache: int


def is_measured(result: CandidateResult) -> bool:
    """Whether anything but a prediction is known."""
    return result.measured is not None or result.quality is not None


def tiers_of(
    results: Sequence[CandidateResult],
    figures: Mapping[str, Figures],
    evidence: Mapping[str, TaskEvidence],
    baseline: str | None,
) -> dict[str, Tier]:
    """The tier of each candidate, by name."""
    sound = any(one.candidate.name == baseline and _expected_step(one) == 0 for one in results)
    raw = {
        one.candidate.name: Tier(
            unmeasured=int(not is_measured(one)),
            damaged=int(band_of(one.quality) == "damaged"),
            tasks=_TASK_STEP[found.state] if (found := evidence.get(one.candidate.name)) else 1,
            unproven=_unproven(one, found, sound=sound),
            cache=int(unstable_against(one.candidate.name, figures) is not None),
        )
        for one in results
    }
    return {
        name: max(raw[other] for other in raw if other == name or never_worse(figures[other], figures[name]))
        for name in raw
    }


def unstable_against(name: str, figures: Mapping[str, Figures]) -> str | None:
    """The candidate with the steadiest cache, where `name` loses its own too often beside it."""
    own = figures[name].get("cache_misses")
    known = {other: figure for other in figures if (figure := figures[other].get("cache_misses")) is not None}
    if own is None or not known:
        return None
    best = min(known, key=lambda other: (known[other].high, known[other].value, other))
    beyond = own.low > known[best].high and own.value - known[best].value >= UNSTABLE_BY
    return best if beyond else None


def ordered(
    results: Sequence[CandidateResult], figures: Mapping[str, Figures], tiers: Mapping[str, Tier]
) -> tuple[str, ...]:
    """The names, the best first.

    In a tier whose quality is proven: not shown slower than the fastest, then memory, speed and the rest. Where the
    quality is open, what is less damaged goes first.
    """
    by_tier: dict[Tier, list[CandidateResult]] = {}
    for one in results:
        by_tier.setdefault(tiers[one.candidate.name], []).append(one)
    return tuple(name for tier in sorted(by_tier) for name in _in_tier(by_tier[tier], figures, tier))


def _in_tier(members: Sequence[CandidateResult], figures: Mapping[str, Figures], tier: Tier) -> list[str]:
    axis = speed_axis(members, figures)
    tied = speed_tie(members, figures, axis)
    axes: tuple[Axis, ...] = ("memory_bytes", axis) if axis else ("memory_bytes",)
    is_open = tier.damaged or tier.unproven

    def place(name: str) -> tuple[object, ...]:
        own = figures[name]
        quality = own.get("quality")
        damage = (quality is None or quality.found == "bits", *_costs(own, ("quality", "kv_bits"))) if is_open else ()
        by_need = axes if name in tied else tuple(reversed(axes))
        return *damage, name not in tied, *_costs(own, by_need), *_costs(own, tuple(BETTER)), name

    return sorted((one.candidate.name for one in members), key=place)


def speed_tie(members: Sequence[CandidateResult], figures: Mapping[str, Figures], axis: Axis | None) -> frozenset[str]:
    """Those that are not shown to be slower than the fastest, and what is never worse than one of them."""
    names = [one.candidate.name for one in members]
    if axis is None:
        return frozenset(names)
    leader = min(members, key=lambda one: (_cost(axis, figures[one.candidate.name].get(axis)), one.candidate.name))
    near = [one.candidate.name for one in members if not _shown_slower(leader, one, figures, axis, len(members) - 1)]
    return frozenset(
        name for name in names if name in near or any(never_worse(figures[name], figures[other]) for other in near)
    )


def speed_axis(members: Sequence[CandidateResult], figures: Mapping[str, Figures]) -> Axis | None:
    """Time for a dispatch where every member has it, else the decode rate."""
    known = [figures[one.candidate.name] for one in members]
    axes: tuple[Axis, ...] = ("dispatch_s", "decode_per_s")
    return next((axis for axis in axes if all(axis in each for each in known)), None)


def _shown_slower(
    leader: CandidateResult,
    other: CandidateResult,
    figures: Mapping[str, Figures],
    axis: Axis,
    comparisons: int,
) -> bool:
    first, second = figures[leader.candidate.name][axis], figures[other.candidate.name][axis]
    if leader is other:
        return False
    if axis == "dispatch_s":
        return slower_than(leader, other, comparisons)
    if first.told and second.told:
        return second.high < first.low
    return second.value < first.value * (1 - _NEARLY_AS_FAST)


def _unproven(one: CandidateResult, found: TaskEvidence | None, *, sound: bool) -> int:
    """What is left open of its quality: 0 nothing, 1 whether agentic tasks suffer, 2 how much is lost."""
    if sound and found is not None and found.state in {"better", "held"}:
        return 0
    return max(_expected_step(one), int(one.flips is not None and fewer_calls_right(one.flips)))


def _expected_step(one: CandidateResult) -> int:
    """By its KLD; where that is not known, by its bits as in published models."""
    known = _BAND_STEP.get(band_of(one.quality))
    if known is not None:
        return known
    bits = one.candidate.model.bits_per_weight
    weights = 0 if bits >= NEAR_LOSSLESS_BITS else 1 if bits >= _LEAST_BITS_TO_CHECK else 2
    kv = KV_BITS.get(one.candidate.kv.lower())
    return max(weights, int(kv is None or kv < NEAR_LOSSLESS_KV_BITS))


def _costs(figures: Figures, axes: tuple[Axis, ...]) -> tuple[float, ...]:
    return tuple(_cost(axis, figures.get(axis)) for axis in axes)


def _cost(axis: Axis, figure: Figure | None) -> float:
    if figure is None:
        return float("inf")
    return figure.value if BETTER[axis] == "lower" else -figure.value
