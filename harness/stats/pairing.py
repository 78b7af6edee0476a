"""Observations into pairs, and pairs into one value per task. Faults of the infrastructure and lone halves are counted.

A pair is one task in one block. Repeats of a task say more about that task and nothing about others: the unit of a
comparison is the task, whose pairs are averaged first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.stats.base import Observation, Pair

__all__ = ["Paired", "Units", "counted", "pair_up", "units_of"]

Floats = NDArray[np.float64]


class Paired(NamedTuple):
    """Pairs in the order of their blocks, and in words what was left out."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


class Units(NamedTuple):
    """The values that a comparison rests on: one per task."""

    values: Floats
    spread: float | None
    within: float | None


def pair_up(observations: Iterable[Observation], baseline: str, treatment: str) -> Paired:
    """The pairs of two arms; other arms' observations do not matter.

    Raises:
        ValueError: two observations of one arm, task and block that are both outcomes.
    """
    halves: dict[str, dict[tuple[int, str], Observation]] = {baseline: {}, treatment: {}}
    faults = 0
    for seen in observations:
        if seen.arm not in halves:
            continue
        if seen.excluded:
            faults += 1
            continue
        place = (seen.block, seen.task)
        if place in halves[seen.arm]:
            raise ValueError(f"{seen.arm} has two outcomes of task {seen.task} in block {seen.block}: keep one")
        halves[seen.arm][place] = seen
    first, second = halves[baseline], halves[treatment]
    pairs = tuple(
        Pair(task, block, first[block, task], second[block, task])
        for block, task in sorted(first.keys() & second.keys())
    )
    lone = len(first.keys() ^ second.keys())
    return Paired(pairs, counted({"dispatch ended by a fault": faults, "dispatch without its pair": lone}))


def units_of(tasks: Sequence[str], values: Sequence[float]) -> Units:
    """One value per task, the mean of its pairs', in the tasks' alphabetical order. Not of infinite values' spread."""
    by_task: dict[str, list[float]] = {}
    for task, value in zip(tasks, values, strict=True):
        by_task.setdefault(task, []).append(value)
    groups = [np.asarray(by_task[task], dtype=np.float64) for task in sorted(by_task)]
    means = np.asarray([group.mean() for group in groups], dtype=np.float64)
    if not np.isfinite(means).all():
        return Units(means, None, None)
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    spread = float(means.std(ddof=1)) if len(means) > 1 else None
    return Units(means, spread, (squares / freedom) ** 0.5 if freedom else None)


def counted(reasons: Mapping[str, int] | Iterable[str]) -> tuple[str, ...]:
    """`2 × reason`, the commonest first; what never happened is not said."""
    return tuple(f"{n} × {reason}" for reason, n in Counter(reasons).most_common() if n)
