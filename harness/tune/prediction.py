"""What each setting would cost, from a screening and a simulation: to choose what is raced. Never a result. Pure.

Measured costs, each by the mean of its task, are told by a few features: the tokens that the modelled cache would
evaluate, the levers, and pairs of levers. Features are taken one after the other while they help (BIC), so that noise
of sixteen runs does not pass for thirty effects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness.tune.space import Lever, Point

__all__ = ["Prediction", "against", "fit", "ranked"]

Floats = NDArray[np.float64]
_STRICT = 1.5
"""A feature has to earn this many times its BIC penalty."""

Prediction = Callable[[Point], float]


def fit(
    levers: Sequence[Lever],
    costs: Mapping[tuple[Point, str], float],
    tokens: Mapping[Point, float],
    *,
    logarithmic: bool,
) -> Prediction:
    """A prediction of the cost of a point, on a scale of its own: less is better.

    Args:
        levers: those of the space.
        costs: by point and task; logarithms if `logarithmic`.
        tokens: what the simulation says, by point; a point that is missing is predicted without.
        logarithmic: seconds and tokens add up, so that they are told as they are and not by their logarithms.
    """
    rows = list(costs)
    if not rows:
        middle = float(np.mean(list(tokens.values()))) if tokens else 0.0
        return lambda point: float(tokens.get(point, middle))
    task_mean = {task: np.mean([costs[row] for row in rows if row[1] == task]) for _, task in rows}
    relative = np.asarray([float(costs[row] - task_mean[row[1]]) for row in rows])
    y = np.exp(relative) if logarithmic else relative
    usual = float(np.mean(list(tokens.values()))) if tokens else 1.0
    pairs = tuple(combinations(range(len(levers)), 2))
    told = bool(tokens) and all(point in tokens for point, _ in rows)

    def features(point: Point) -> Floats:
        coded = [lever.position(level) for lever, level in zip(levers, point, strict=True)]
        simulated = tokens.get(point, usual) / usual if told else 0.0
        return np.asarray([1.0, simulated, *coded, *(coded[a] * coded[b] for a, b in pairs)])

    table = np.vstack([features(point) for point, _ in rows])
    chosen = _chosen(table, y)
    weights = np.linalg.lstsq(table[:, chosen], y, rcond=None)[0]
    return lambda point: float(features(point)[chosen] @ weights)


def ranked(points: Sequence[Point], predicted: Prediction) -> list[Point]:
    """The points by their prediction, the cheapest first; equals as they came."""
    return sorted(points, key=predicted)


def against(predicted: Prediction, current: Point, *, logarithmic: bool) -> Callable[[Point], float | None]:
    """What a point is thought to cost more than the current one, on the scale of `harness.tune.costs`."""
    now = predicted(current)

    def gain(point: Point) -> float | None:
        value = predicted(point)
        if not logarithmic:
            return value - now
        return math.log(value / now) if value > 0 and now > 0 else None

    return gain


def _chosen(table: Floats, y: Floats) -> list[int]:
    """The features that are worth their place: forward, by the Bayesian information criterion."""
    n = len(y)
    chosen = [0]
    now = _criterion(table[:, chosen], y)
    while len(chosen) < max(2, n // 3):
        tries = [
            (_criterion(table[:, [*chosen, number]], y), number)
            for number in range(1, table.shape[1])
            if number not in chosen and np.ptp(table[:, number]) > 0
        ]
        if not tries:
            break
        best, number = min(tries)
        if best > now - (_STRICT - 1) * math.log(n):
            break
        chosen.append(number)
        now = best
    return chosen


def _criterion(columns: Floats, y: Floats) -> float:
    left = y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    n = len(y)
    floor = 1e-6 * float(np.var(y)) * n + 1e-300  # a perfect fit must not look infinitely better than a good one
    return n * math.log((float(left @ left) + floor) / n) + int(columns.shape[1]) * math.log(n)
