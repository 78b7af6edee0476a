"""Main effects of levers from the runs of a screening: least squares with the task as block, and t intervals. Pure.

What pairs of levers do together is taken out of the error where tasks are repeated; with one task it is in the error,
which then only widens the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.tune.space import Lever, Point

__all__ = ["Effect", "effects_of"]

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
_TIED = 1e-9


class Effect(msgspec.Struct, frozen=True):
    """What going from a lever's low level to its high one does to the cost: below 0, high is better.

    Of ratio metrics the cost is a logarithm. `None`: it cannot be told from these runs.
    """

    lever: str
    low_level: str
    high_level: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    runs: int

    @property
    def better(self) -> str | None:
        """The better level, if the interval leaves out that there is none."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return None
        return self.low_level if self.low > 0 else self.high_level


def effects_of(
    levers: Sequence[Lever], points: Sequence[Point], costs: Mapping[tuple[Point, str], float]
) -> tuple[Effect, ...]:
    """The effect of each lever over the points that were run.

    Args:
        levers: those of the space.
        points: the runs.
        costs: the cost of each run on each task; what is missing is left out.
    """
    rows = [(point, task) for point, task in costs if point in points]
    if not rows:
        return tuple(_unknown(lever, 0) for lever in levers)
    tasks = sorted({task for _, task in rows})
    coded = np.asarray([[lever.position(level) for lever, level in zip(levers, p, strict=True)] for p, _ in rows])
    blocks = np.asarray([[float(task == one) for one in tasks] for _, task in rows])
    y = np.asarray([costs[row] for row in rows])
    base = np.hstack([blocks, coded])
    full = base if len(tasks) < 2 else _with_pairs(base, coded, room=len({p for p, _ in rows}))
    solution, error, freedom = _least_squares(full, y)
    found: list[Effect] = []
    for number, lever in enumerate(levers):
        place = len(tasks) + number
        if not _told(base, place) or math.isnan(solution[place]):
            found.append(_unknown(lever, len(rows)))
            continue
        value = 2 * float(solution[place])
        half = 2 * float(error[place]) * float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) if freedom else None
        p = float(2 * stats.t.sf(abs(solution[place] / error[place]), freedom)) if freedom and error[place] else None
        low, high = (None, None) if half is None else (value - half, value + half)
        found.append(Effect(lever.name, lever.low, lever.high, value, low, high, p, len(rows)))
    return tuple(found)


def _with_pairs(base: Floats, coded: Floats, room: int) -> Floats:
    """The columns of pairs that are not told by others before them, as many as so many different runs can tell."""
    columns = base
    left = room - 1 - coded.shape[1]
    for a, b in combinations(range(coded.shape[1]), 2):
        if left <= 0:
            break
        wider = np.column_stack([columns, coded[:, a] * coded[:, b]])
        if np.linalg.matrix_rank(wider) > np.linalg.matrix_rank(columns):
            columns, left = wider, left - 1
    return columns


def _least_squares(columns: Floats, y: Floats) -> tuple[Floats, Floats, int]:
    """Solution, standard errors and degrees of freedom."""
    inverse = np.linalg.pinv(columns.T @ columns)
    solution = inverse @ columns.T @ y
    freedom = len(y) - int(np.linalg.matrix_rank(columns))
    left = y - columns @ solution
    variance = float(left @ left) / freedom if freedom > 0 else 0.0
    return solution, np.sqrt(np.maximum(0.0, np.diag(inverse)) * variance), max(0, freedom)


def _told(base: Floats, place: int) -> bool:
    """Whether a column is none that the others make up: then its effect cannot be told from theirs."""
    others = np.delete(base, place, axis=1)
    left = base[:, place] - others @ np.linalg.lstsq(others, base[:, place], rcond=None)[0]
    return float(left @ left) > _TIED


def _unknown(lever: Lever, runs: int) -> Effect:
    return Effect(lever.name, lever.low, lever.high, None, None, None, None, runs)
