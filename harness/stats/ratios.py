"""Times, rates, tokens and memory of two arms as a ratio, where every pair has one.

Each pair gives the logarithm of treatment by baseline, each task the mean of its pairs, and Student's t over the tasks
the interval, turned back into a ratio. Beside it stands the Hodges–Lehmann estimate with Wilcoxon's exact interval.

The time to verified success is what a dispatch took until the verifier said yes. One that failed, gave up, or was
stopped has none: it takes *more* than its limit, however early it ended, so that giving up never looks fast. Pairs
without a success in either arm have no ratio. Where one arm alone succeeded, `harness.stats.wins` compares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from harness.stats.base import Estimate, Interval, Metric, Observation, Pair
from harness.stats.locations import Located, least_ranked, signed_rank, student
from harness.stats.pairing import counted, units_of

__all__ = ["RANKS", "LogRatio", "LogRatios", "bounds_of", "compare_ratio", "log_ratios"]

RANKS: Final = "Hodges–Lehmann, exact Wilcoxon"


class LogRatio(msgspec.Struct, frozen=True):
    """A pair's log ratio: at least, at most, and with what has no end cut off at its limit."""

    task: str
    least: float
    most: float
    cut_off: float

    @property
    def whole(self) -> bool:
        """Both halves have an end."""
        return self.least == self.most


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


class LogRatios(NamedTuple):
    """Of pairs: their ratios, the tasks of those that ended in neither arm, and which have no ratio and why."""

    ratios: tuple[LogRatio, ...]
    even: tuple[str, ...]
    notes: tuple[str, ...]


def log_ratios(pairs: Sequence[Pair], metric: Metric) -> LogRatios:
    """Each pair's log ratio, in the order of the pairs."""
    ratios: list[LogRatio] = []
    even: list[str] = []
    without: list[str] = []
    for pair in pairs:
        first, second = bounds_of(pair.baseline, metric), bounds_of(pair.treatment, metric)
        if isinstance(first, str) or isinstance(second, str):
            without.append(f"pair left out: {first if isinstance(first, str) else second}")
        elif math.inf == first[1] == second[1]:
            even.append(pair.task)
        else:
            least = math.log(second[0]) - math.log(first[1]) if first[1] < math.inf else -math.inf
            most = math.log(second[1]) - math.log(first[0]) if second[1] < math.inf else math.inf
            ratios.append(LogRatio(pair.task, least, most, math.log(second[0]) - math.log(first[0])))
    neither = {"pair without an end in either arm": len(even)}
    return LogRatios(tuple(ratios), tuple(even), (*counted(neither), *counted(without)))


def compare_ratio(
    ratios: Sequence[LogRatio], metric: Metric, confidence: float = 0.95, notes: tuple[str, ...] = ()
) -> tuple[Estimate, tuple[Estimate, ...]]:
    """Treatment by baseline; the estimate that decides, and the one by ranks beside it. Failures count as their limit.

    One task, or tasks that all give the same, have no spread for a t test: ranks then set the interval, of one task
    over its pairs. They set none with fewer than 6 (at 95 %).
    """
    if not ratios:
        return _estimate(metric, "none", ratios, None, confidence, (*notes, "no pair has a ratio")), ()
    units = units_of([ratio.task for ratio in ratios], [ratio.cut_off for ratio in ratios])
    mean = student(units.values, confidence)
    if not np.isnan(mean.low):
        ranks = _estimate(metric, RANKS, ratios, signed_rank(units.values, confidence), confidence)
        return _estimate(metric, "t over tasks", ratios, mean, confidence, notes), (ranks,)
    alone = len(units.values) == 1
    values = np.asarray([ratio.cut_off for ratio in ratios]) if alone else units.values
    why = "one task: its pairs count, and this is about it alone" if alone else "every task gives the same ratio"
    needed = least_ranked(confidence)
    few = () if len(values) >= needed else (f"ranks set no bound with fewer than {needed}",)
    return _estimate(metric, RANKS, ratios, signed_rank(values, confidence), confidence, (*notes, why, *few)), ()


def _estimate(
    metric: Metric,
    method: str,
    ratios: Sequence[LogRatio],
    located: Located | None,
    confidence: float,
    notes: tuple[str, ...] = (),
) -> Estimate:
    """Logarithms back into ratios; without bounds there is no interval."""
    units = units_of([ratio.task for ratio in ratios], [ratio.cut_off for ratio in ratios])
    told = located is not None and bool(np.isfinite(located.low))
    return Estimate(
        metric=metric.name,
        scale="ratio",
        method=method,
        value=None if located is None else math.exp(float(located.value)),
        interval=Interval(math.exp(float(located.low)), math.exp(float(located.high)), confidence)
        if located is not None and told
        else None,
        p=None if located is None or not told else float(located.p),
        pairs=len(ratios),
        tasks=len(units.values),
        spread=units.spread,
        within=units.within,
        notes=notes,
    )
