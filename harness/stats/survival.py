"""Time to verified success as survival: the median, the mean up to a limit, the log-rank test. Shown, never deciding.

These do not pair the arms by task (the restricted mean does), so that the differences between tasks are noise to them.
The paired comparison of `harness.stats.ratios` decides.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import stats

from harness.stats.base import Estimate, Interval, Metric, Observation
from harness.stats.locations import student
from harness.stats.pairing import Paired, counted, units_of
from harness.stats.ratios import bounds_of

__all__ = ["log_rank_p", "median_time_s", "restricted_mean_difference", "timed"]

_TIME = Metric("time to success", "time to success")


def timed(observations: Iterable[Observation], arm: str) -> stats.CensoredData | None:
    """An arm's times to success, failures right-censored at their limits; None without one that can be used."""
    bounds = [bounds_of(seen, _TIME) for seen in observations if seen.arm == arm and not seen.excluded]
    known = [bound for bound in bounds if not isinstance(bound, str)]
    if not known:
        return None
    return stats.CensoredData(
        uncensored=[low for low, high in known if high == low], right=[low for low, high in known if high > low]
    )


def median_time_s(observations: Iterable[Observation], arm: str) -> float | None:
    """The time by which half of the dispatches had succeeded (Kaplan–Meier); None if that was never so."""
    data = timed(observations, arm)
    if data is None:
        return None
    curve = stats.ecdf(data).sf
    below = np.asarray(curve.quantiles)[np.asarray(curve.probabilities) <= 0.5 + 1e-12]
    return float(below[0]) if below.size else None


def log_rank_p(observations: Iterable[Observation], baseline: str, treatment: str) -> float | None:
    """The log-rank test's two-sided p; None where an arm is empty or nothing succeeded."""
    seen = tuple(observations)
    first, second = timed(seen, baseline), timed(seen, treatment)
    if first is None or second is None or _successes(seen, (baseline, treatment)) == 0:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        p = float(stats.logrank(first, second).pvalue)
    return None if np.isnan(p) else p


def restricted_mean_difference(paired: Paired, confidence: float = 0.95) -> Estimate:
    """Seconds to success up to the limit, treatment minus baseline: a failure counts as its limit. t over tasks.

    It is the difference between the areas under the two survival curves up to the limit, and depends on the limit.
    """
    times = [(pair.task, bounds_of(pair.baseline, _TIME), bounds_of(pair.treatment, _TIME)) for pair in paired.pairs]
    known = [
        (task, second[0] - first[0])
        for task, first, second in times
        if not isinstance(first, str) and not isinstance(second, str)
    ]
    notes = (*paired.notes, *counted({"pair without a time or a limit": len(times) - len(known)}))
    units = units_of([task for task, _ in known], [difference for _, difference in known])
    located = student(units.values, confidence) if known else None
    told = located is not None and not np.isnan(located.low)
    return Estimate(
        metric="time to success up to the limit, s",
        scale="difference",
        method="restricted mean, t over tasks",
        value=float(located.value) if located is not None else None,
        interval=Interval(float(located.low), float(located.high), confidence)
        if located is not None and told
        else None,
        p=float(located.p) if located is not None and told else None,
        pairs=len(known),
        tasks=len(units.values) if known else 0,
        spread=units.spread,
        within=units.within,
        notes=notes,
    )


def _successes(observations: Iterable[Observation], arms: tuple[str, ...]) -> int:
    return sum(seen.arm in arms and not seen.excluded and seen.success is True for seen in observations)
