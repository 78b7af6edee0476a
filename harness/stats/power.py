"""What a plan can detect, before it runs; and how much more would decide what it left open.

The spread of a ratio has two parts: a dispatch's own (`within_cv`, a coefficient of variation), which repeats reduce,
and that of the effect between tasks (`effect_sd`, of logarithms), which only more tasks reduce. Power is that of the
two-sided t test over tasks; of a rate of success that of the exact McNemar test, with each outcome counted. What the
defaults say was measured elsewhere: `dyno aa` measures it here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.stats.base import Estimate

__all__ = [
    "More",
    "detectable_effect",
    "detectable_ratio",
    "detectable_success",
    "more_needed",
    "power_of_effect",
    "power_of_ratio",
    "power_of_success",
]

WITHIN_CV: Final = 0.12
EFFECT_SD: Final = 0.10
GOOD_POWER: Final = 0.8
_QUANTILES: Final = 1000
_MOST: Final = 2000
"""More blocks or tasks than this are not a plan."""


class More(NamedTuple):
    """What would decide, with a chance of 80 %, if the truth is as estimated; None: nothing feasible would."""

    blocks: int | None
    tasks: int | None


def power_of_effect(effect: float, error: float, tasks: int, alpha: float = 0.05) -> float:
    """The chance that a t test over tasks finds an effect that has this standard error; 0 with fewer than two tasks."""
    if tasks < 2:
        return 0.0
    if error <= 0:
        return 1.0 if effect else alpha
    size, limit = abs(effect) / error, float(stats.t.ppf(1 - alpha / 2, tasks - 1)) * _seen_spreads(tasks - 1)
    return float(np.mean(stats.norm.sf(limit - size) + stats.norm.sf(limit + size)))


@cache
def _seen_spreads(freedom: int) -> NDArray[np.float64]:
    """The spreads that samples show where the true one is 1, as even quantiles.

    The noncentral t is the normal distribution averaged over these; scipy's own gives NaN for a large effect.
    """
    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return np.sqrt(np.asarray(stats.chi2.ppf(shares, freedom), dtype=np.float64) / freedom)


def power_of_ratio(
    tasks: int,
    repeats: int,
    ratio: float,
    within_cv: float = WITHIN_CV,
    effect_sd: float = EFFECT_SD,
    alpha: float = 0.05,
) -> float:
    """The chance that a plan of so many tasks, each done so often by both arms, finds a ratio (0.75: 25 % less)."""
    return power_of_effect(math.log(ratio), _error(tasks, repeats, within_cv, effect_sd), tasks, alpha)


def detectable_ratio(
    tasks: int,
    repeats: int,
    within_cv: float = WITHIN_CV,
    effect_sd: float = EFFECT_SD,
    alpha: float = 0.05,
    power: float = GOOD_POWER,
) -> float | None:
    """The ratio below 1 that is nearest to it and still found with this power; its reciprocal is found as well."""
    effect = detectable_effect(_error(tasks, repeats, within_cv, effect_sd), tasks, alpha, power)
    return None if effect is None else math.exp(-effect)


def detectable_effect(error: float, tasks: int, alpha: float = 0.05, power: float = GOOD_POWER) -> float | None:
    """The smallest effect that is found with this power, in the unit of its standard error; None with one task."""
    if tasks < 2 or error <= 0:
        return None
    return _least(lambda effect: power_of_effect(effect, error, tasks, alpha) >= power, 0.0, 30.0 * error)


@cache
def power_of_success(pairs: int, before: float, after: float, alpha: float = 0.05) -> float:
    """The chance that the exact McNemar test finds a change of the rate of success, halves of a pair independent."""
    won, lost = (1 - before) * after, before * (1 - after)
    differing = np.arange(pairs + 1)
    chance_differing = stats.binom.pmf(differing, pairs, won + lost)
    if won + lost == 0:
        return 0.0
    # Two-sided p ≤ alpha: the rarer side's count is so small that twice its tail is at most alpha.
    most = np.asarray(stats.binom.ppf(alpha / 2, differing, 0.5), dtype=np.float64)
    most = np.where(2 * np.asarray(stats.binom.cdf(most, differing, 0.5)) <= alpha + 1e-12, most, most - 1)
    share = won / (won + lost)
    found = np.asarray(stats.binom.cdf(most, differing, share)) + np.asarray(
        stats.binom.cdf(most, differing, 1 - share)
    )
    return float(np.minimum(1.0, found) @ chance_differing)


def detectable_success(pairs: int, before: float, alpha: float = 0.05, power: float = GOOD_POWER) -> float | None:
    """The rate above `before` that is nearest to it and found with this power; None if even 1 is not."""
    if pairs < 1 or power_of_success(pairs, before, 1.0, alpha) < power:
        return None
    return _least(lambda after: power_of_success(pairs, before, after, alpha) >= power, before, 1.0)


def more_needed(estimate: Estimate, effect: float, margin: float, alpha: float = 0.05) -> More:
    """How many more blocks of the same tasks, or tasks of as many blocks, would decide that it differs, or does not.

    Args:
        estimate: what there is; its `spread` and `within` say what repeats can reduce.
        effect: the estimate's, in logarithms for ratios.
        margin: what is called equivalent, in the same unit.
        alpha: of the test that is to decide.
    """
    tasks, spread = estimate.tasks, estimate.spread
    if tasks < 2 or spread is None or spread <= 0:
        return More(None, None)
    repeats = max(1, round(estimate.pairs / tasks))
    own = 0.0 if estimate.within is None else min(spread**2, estimate.within**2 / repeats)

    def decides(n_tasks: int, variance: float) -> bool:
        error = math.sqrt(variance / n_tasks)
        differs = power_of_effect(effect, error, n_tasks, alpha) >= GOOD_POWER
        # Both one-sided tests against the margin: the nearer side is the harder one.
        room = margin - abs(effect)
        same = room > 0 and power_of_effect(room, error, n_tasks, 2 * alpha) >= (1 + GOOD_POWER) / 2
        return differs or same

    total = None
    if estimate.within is not None:
        total = _first(lambda n: decides(tasks, spread**2 - own + own * repeats / n), repeats + 1)
    more_tasks = _first(lambda n: decides(n, spread**2), tasks + 1)
    return More(None if total is None else total - repeats, None if more_tasks is None else more_tasks - tasks)


def _error(tasks: int, repeats: int, within_cv: float, effect_sd: float) -> float:
    if tasks < 1 or repeats < 1:
        raise ValueError(f"{tasks} tasks, {repeats} repeats: a plan has at least one of each")
    return math.sqrt((effect_sd**2 + 2 * math.log1p(within_cv**2) / repeats) / tasks)


def _first(holds: Callable[[int], bool], start: int) -> int | None:
    """The smallest whole number from `start` that holds, if larger ones do too; None if even the largest does not."""
    low, high = start, start
    while not holds(high):
        if high >= _MOST:
            return None
        low, high = high + 1, min(_MOST, 2 * high)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _least(holds: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
