"""Times, rates, tokens and memory of two arms as a ratio; and the time to verified success, where a failure has no time.

Each pair gives the logarithm of treatment by baseline, each task the mean of its pairs, and Student's t over the tasks the
interval, turned back into a ratio. Beside it stands the Hodges–Lehmann estimate with Wilcoxon's exact interval.

The time to verified success is what a dispatch took until the verifier said yes. A dispatch that failed, gave up, or was stopped
has none: it took *more* than its limit, however early it ended, so that giving up never looks fast. Such a pair's ratio is only
known to be above (or below) something, and a mean of such values does not exist. The comparison then goes by ranks, whose bounds
can be taken at the worst that each ratio may be: whatever the missing times are, the interval holds. Pairs without a success in
either arm say nothing about time; they are counted, and they weigh in the rate of success.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.stats.base import Estimate, Interval, Metric, Observation, Pair
from harness.stats.locations import Located, least_ranked, signed_rank, student
from harness.stats.pairing import Paired, Units, counted, units_of

__all__ = ["bounds_of", "compare_ratio", "log_ratios"]

Floats = NDArray[np.float64]


class LogRatio(msgspec.Struct, frozen=True):
    """A pair's log ratio: at least, at most, and with every failure counted at its limit (`restricted`)."""

    task: str
    least: float
    most: float
    restricted: float


def bounds_of(seen: Observation, metric: Metric) -> tuple[float, float] | str:
    """What is known of one observation's value: at least, at most; or in words why it cannot be compared."""
    if metric.kind == "time to success":
        if seen.success is None:
            return "dispatch not judged"
        value, stopped = (seen.time_s, False) if seen.success else (seen.limit_s, True)
        unknown = "failure without a known limit" if stopped else "success without a known time"
    else:
        value, stopped = seen.measures.get(metric.name), seen.censored and metric.accumulates
        unknown = f"dispatch without {metric.name}"
    if value is None:
        return unknown
    if not (value > 0 and math.isfinite(value)):
        return f"{metric.name} not above 0"
    return value, math.inf if stopped else value


def log_ratios(pairs: Sequence[Pair], metric: Metric) -> tuple[tuple[LogRatio, ...], tuple[str, ...]]:
    """Each pair's log ratio, and in words which pairs have none."""
    ratios: list[LogRatio] = []
    without: list[str] = []
    for pair in pairs:
        first, second = bounds_of(pair.baseline, metric), bounds_of(pair.treatment, metric)
        if isinstance(first, str) or isinstance(second, str):
            without.append(f"pair left out: {first if isinstance(first, str) else second}")
        elif math.inf == first[1] == second[1]:
            without.append("pair without an end in either arm: it says nothing about time")
        else:
            least = math.log(second[0]) - math.log(first[1]) if first[1] < math.inf else -math.inf
            most = math.log(second[1]) - math.log(first[0]) if second[1] < math.inf else math.inf
            ratios.append(LogRatio(pair.task, least, most, math.log(second[0]) - math.log(first[0])))
    return tuple(ratios), counted(without)


def compare_ratio(paired: Paired, metric: Metric, confidence: float = 0.95) -> tuple[Estimate, tuple[Estimate, ...]]:
    """Treatment by baseline; the estimate that decides, and those beside it.

    With a value for every pair: t over the tasks' mean log ratios, beside it Hodges–Lehmann. With pairs that have no end in one
    arm: Hodges–Lehmann between bounds, beside it t on times cut off at the limit (a *restricted* ratio, which depends on the
    limit). Ranks set no bound with fewer than 6 tasks (at 95 %): the pairs then count one by one, which `notes` says.
    """
    ratios, without = log_ratios(paired.pairs, metric)
    notes = (*paired.notes, *without)
    if not ratios:
        return _estimate(metric, "none", 0, None, None, confidence, (*notes, "no pair has a ratio")), ()
    tasks = [ratio.task for ratio in ratios]
    restricted = units_of(tasks, [ratio.restricted for ratio in ratios])
    open_pairs = sum(ratio.least != ratio.most for ratio in ratios)
    ranks = _by_ranks(metric, ratios, confidence)
    mean = student(restricted.values, confidence)
    if open_pairs:
        cut = _estimate(metric, "t over tasks, cut off at the limit", len(ratios), restricted, mean, confidence)
        why = f"{open_pairs} of {len(ratios)} pairs have an end in one arm only: compared by ranks"
        return msgspec.structs.replace(ranks, notes=(*notes, why, *ranks.notes)), (cut,)
    if np.isnan(mean.low):
        flat = "every task gives the same ratio: ranks set the interval" if len(restricted.values) > 1 else "one task"
        return msgspec.structs.replace(ranks, notes=(*notes, flat, *ranks.notes)), ()
    return _estimate(metric, "t over tasks", len(ratios), restricted, mean, confidence, notes), (ranks,)


def _by_ranks(metric: Metric, ratios: Sequence[LogRatio], confidence: float) -> Estimate:
    """Hodges–Lehmann over tasks, or over pairs where the tasks are too few to set a bound and the pairs are not."""
    needed = least_ranked(confidence)
    tasks = [ratio.task for ratio in ratios]
    notes: tuple[str, ...] = ()
    if len(set(tasks)) < needed <= len(ratios):
        tasks = [f"{number}" for number in range(len(ratios))]
        notes = (f"fewer than {needed} tasks: each pair counts, so this is about these tasks alone",)
    elif len(set(tasks)) < needed:
        notes = (f"ranks set no bound with fewer than {needed} tasks or pairs",)
    least = units_of(tasks, [ratio.least for ratio in ratios])
    most = units_of(tasks, [ratio.most for ratio in ratios])
    restricted = units_of(tasks, [ratio.restricted for ratio in ratios])
    bounds = signed_rank(least.values, confidence, most.values)
    located = bounds._replace(value=signed_rank(restricted.values, confidence).value)
    own = units_of([ratio.task for ratio in ratios], [ratio.restricted for ratio in ratios])
    return _estimate(metric, "Hodges–Lehmann, exact Wilcoxon", len(ratios), own, located, confidence, notes)


def _estimate(
    metric: Metric,
    method: str,
    pairs: int,
    units: Units | None,
    located: Located | None,
    confidence: float,
    notes: tuple[str, ...] = (),
) -> Estimate:
    """Logarithms back into ratios; a bound that does not exist becomes None."""
    low, high, p = (None, None, None) if located is None else (float(each) for each in located[1:])
    told = low is not None and high is not None and not math.isnan(low) and (low, high) != (-math.inf, math.inf)
    interval = Interval(_ratio(low), _ratio(high), confidence) if told else None
    return Estimate(
        metric=metric.name,
        scale="ratio",
        method=method,
        value=math.exp(float(located.value)) if located is not None else None,
        interval=interval,
        p=None if p is None or math.isnan(p) else p,
        pairs=pairs,
        tasks=len(units.values) if units is not None and pairs else 0,
        spread=None if units is None else units.spread,
        within=None if units is None else units.within,
        notes=notes,
    )


def _ratio(logarithm: float | None) -> float | None:
    return None if logarithm is None or math.isinf(logarithm) else math.exp(logarithm)
