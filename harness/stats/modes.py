"""Whether times come in two groups (fast and slow), and how often each arm is in the slow one.

The sign is the largest gap between neighbouring logarithms, in units of the spread within the two groups that it makes.
A log-normal sample of n has such a gap above `45/n` in at most 3 of 100 cases, for n from 8 to 200 (simulated; the
tests do it again). Tasks take different times: each value is therefore taken relative to the best of the *other*
dispatches of its task, in both arms. A mode is a finding about the machine or the agent, and the comparison of rates
needs some 40 dispatches an arm to see .33 against .10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from scipy import stats

from harness.stats.base import Interval, Metric, Pair
from harness.stats.locations import Floats
from harness.stats.ratios import bounds_of
from harness.stats.success import rate_interval

__all__ = ["LEAST_FOR_MODES", "ModeRate", "Modes", "find_modes", "largest_gap", "relative_to_task", "threshold"]

LEAST_FOR_MODES: Final = 8
_EDGE: Final = 0.1
"""The smaller group is at least a tenth, and two: a lone outlier is not a mode."""
_STRICTNESS: Final = 45.0


class ModeRate(msgspec.Struct, frozen=True):
    """How many of an arm's dispatches were in the slow group."""

    arm: str
    slow: int
    n: int
    interval: Interval | None


class Modes(msgspec.Struct, frozen=True):
    """Two groups that an arm's values fall into, with the rates of both arms; `p` is Fisher's, exploratory."""

    metric: str
    arm: str
    apart: float
    """How many times the slow group's middle is the fast one's."""
    rates: tuple[ModeRate, ...]
    p: float


def threshold(n: int) -> float:
    """The gap above which n values are called bimodal."""
    return _STRICTNESS / n


def largest_gap(values: Floats) -> tuple[Floats, Floats]:
    """The largest gap by the spread within both groups, and the middle of that gap; samples along the last axis.

    Raises:
        ValueError: fewer than `LEAST_FOR_MODES` values.
    """
    n: int = values.shape[-1]
    if n < LEAST_FOR_MODES:
        raise ValueError(f"{n} values show no groups: bring {LEAST_FOR_MODES}")
    edge = max(2, math.ceil(_EDGE * n))
    sizes = np.arange(edge, n - edge + 1)
    ordered = np.sort(values, axis=-1)
    centred = ordered - ordered.mean(axis=-1, keepdims=True)
    sums, squares = np.cumsum(centred, axis=-1), np.cumsum(centred**2, axis=-1)
    left, left_squares = sums[..., sizes - 1], squares[..., sizes - 1]
    right, right_squares = sums[..., -1:] - left, squares[..., -1:] - left_squares
    around = left_squares - left**2 / sizes + right_squares - right**2 / (n - sizes)
    within = np.sqrt(np.maximum(around, 0) / (n - 2))
    gaps = ordered[..., sizes] - ordered[..., sizes - 1]
    least = 1e-9 * np.maximum(1.0, np.abs(ordered).max(axis=-1, keepdims=True))  # rounding is not a spread
    relative = np.where(gaps > least, gaps / np.maximum(within, least), 0.0)
    best = relative.argmax(axis=-1)[..., None]
    middle = (np.take_along_axis(ordered, sizes[best], -1) + np.take_along_axis(ordered, sizes[best] - 1, -1)) / 2
    return relative.max(axis=-1), middle[..., 0]


def relative_to_task(pairs: Sequence[Pair], metric: Metric) -> dict[str, list[float]]:
    """Each arm's log values, relative to the best of the other dispatches of the same task; the worse the larger.

    What failed or was stopped has no value of its own and is left out: it counts in the rate of success.
    """
    sign = 1.0 if metric.better == "lower" else -1.0
    by_task: dict[str, list[tuple[str, float]]] = {}
    for pair in pairs:
        for seen in (pair.baseline, pair.treatment):
            bounds = bounds_of(seen, metric)
            if not isinstance(bounds, str) and bounds[1] == bounds[0]:
                by_task.setdefault(pair.task, []).append((seen.arm, sign * math.log(bounds[0])))
    relative: dict[str, list[float]] = {}
    for seen_values in by_task.values():
        for place, (arm, value) in enumerate(seen_values):
            others = [other for at, (_, other) in enumerate(seen_values) if at != place]
            if others:
                relative.setdefault(arm, []).append(value - min(others))
    return relative


def find_modes(pairs: Sequence[Pair], metric: Metric) -> Modes | None:
    """The two groups of the arm whose values fall apart the most, or None if no arm's do (or there are too few)."""
    values = {arm: np.asarray(of_arm) for arm, of_arm in relative_to_task(pairs, metric).items()}
    gaps = {arm: largest_gap(of_arm) for arm, of_arm in values.items() if len(of_arm) >= LEAST_FOR_MODES}
    beyond = {arm: float(gap) / threshold(len(values[arm])) for arm, (gap, _) in gaps.items()}
    arm = max(beyond, key=beyond.__getitem__, default=None)
    if arm is None or beyond[arm] <= 1:
        return None
    cut = float(gaps[arm][1])
    own = values[arm]
    rates = tuple(_rate(name, of_arm, cut) for name, of_arm in values.items())
    table = [[rate.slow, rate.n - rate.slow] for rate in rates]
    p = float(stats.fisher_exact(np.asarray(table)).pvalue) if len(table) == 2 else 1.0
    apart = math.exp(float(np.median(own[own > cut]) - np.median(own[own <= cut])))
    return Modes(metric.name, arm, apart, rates, p)


def _rate(arm: str, values: Iterable[float], cut: float) -> ModeRate:
    slow = [bool(value > cut) for value in values]
    return ModeRate(arm, sum(slow), len(slow), rate_interval(sum(slow), len(slow)))
