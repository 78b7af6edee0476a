"""Which settings are raced: the cheapest by prediction, and of levers that change the model's doing, all sides. Pure.

A rehearsal forces what the agent does, so that it tells what a setting costs and not what it does to the outcome. Where
the race is dispatched, levers that change what the model reads or may do are therefore not decided before it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from harness.tune.prediction import Prediction, ranked
from harness.tune.space import Point, Space

__all__ = ["chosen_for_race", "decided_by_dispatch", "plainest"]


def decided_by_dispatch(space: Space) -> tuple[str, ...]:
    """The varied levers that a rehearsal cannot decide."""
    return tuple(lever.name for lever in space.levers if lever.name not in space.rules.cost_only)


def chosen_for_race(
    space: Space, pool: Sequence[Point], predicted: Prediction, number: int, *, rehearsed: bool, seed: int
) -> tuple[Point, ...]:
    """At most so many points of the pool, without the current one.

    Where the race is rehearsed they are the cheapest by prediction. Else they are the cheapest of each combination of
    levers that only a dispatch decides; of too many combinations some are drawn.
    """
    # Of settings that are thought to cost the same, the one that changes least goes first.
    near_first = sorted(pool, key=space.changes)
    order = [point for point in ranked(near_first, predicted) if point != space.current]
    open_levers = decided_by_dispatch(space)
    if rehearsed or not open_levers:
        return tuple(order[:number])
    best: dict[tuple[str, ...], Point] = {}
    for point in order:
        values = space.values(point)
        best.setdefault(tuple(values[name] for name in open_levers), point)
    now = tuple(space.values(space.current)[name] for name in open_levers)
    rest = [key for key in best if key != now]
    # What costs least need not be what does best: with too many combinations chance is fairer than price.
    kept = rest if len(best) <= number else random.Random(seed).sample(rest, min(len(rest), number - (now in best)))
    keys = [key for key in best if key == now or key in set(kept)]
    return tuple(best[key] for key in keys)[:number]


def plainest(space: Space, points: Sequence[Point], costs: Sequence[float | None], room: float) -> Point:
    """Of the points that cost no more than `room` above the first, the one that changes least of the current setting.

    A lever that makes no difference is left as it is: noise must not decide it.
    """
    first = costs[0]
    near = [
        point
        for point, cost in zip(points, costs, strict=True)
        if first is None or (cost is not None and cost <= first + room)
    ]
    return min(near, key=space.changes)
