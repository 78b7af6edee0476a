"""Whether the place in the experiment mattered: first against second within a pair, and a trend over the whole run.

The order is randomised so that such effects do not favour an arm. They are tested all the same and always shown: an
experiment with one has more noise than it needs, and a machine that gets slower. Each pair counts for itself here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from harness.stats.base import Estimate, Interval, Metric, Observation, Pair
from harness.stats.ratios import bounds_of, log_ratios

__all__ = ["second_by_first", "trend"]


def second_by_first(pairs: Sequence[Pair], metric: Metric, confidence: float = 0.95) -> Estimate:
    """The ratio of the dispatch that ran second in a pair to the first, with the arms' own difference taken out.

    It needs pairs of both orders, two of each: else the order cannot be told from the arm.
    """
    groups: tuple[list[float], list[float]] = ([], [])
    for pair in pairs:
        for ratio in log_ratios((pair,), metric).ratios:
            turned = pair.treatment.order < pair.baseline.order
            groups[turned].append(-ratio.cut_off if turned else ratio.cut_off)
    sizes = [len(group) for group in groups]
    known, tasks = sum(sizes), len({pair.task for pair in pairs})
    if min(sizes) < 2:
        note = f"baseline ran first in {sizes[0]} pairs, treatment in {sizes[1]}: the order cannot be told from the arm"
        return _estimate(metric, "second by first", None, 0, 0, confidence, known, tasks, (note,))
    first, second = (np.asarray(group) for group in groups)
    freedom = known - 2
    squares = float(((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum())
    error = math.sqrt(squares / freedom * (1 / sizes[0] + 1 / sizes[1])) / 2
    effect = float(first.mean() + second.mean()) / 2
    return _estimate(metric, "second by first", effect, error, freedom, confidence, known, tasks, ())


def trend(observations: Iterable[Observation], metric: Metric, confidence: float = 0.95) -> Estimate:
    """The ratio of the experiment's end to its beginning: a line through the logarithms, arms and tasks set apart."""
    known = [
        (seen, math.log(bounds[0]))
        for seen in observations
        if not seen.excluded and not isinstance(bounds := bounds_of(seen, metric), str)
    ]
    tasks = sorted({seen.task for seen, _ in known})
    arms = sorted({seen.arm for seen, _ in known})
    names = [*(("arm", arm) for arm in arms[1:]), *(("task", task) for task in tasks[1:])]
    method = "line over the order"
    if len(known) - len(names) - 2 < 3:
        note = f"{len(known)} dispatches, {len(tasks)} tasks: too few for a trend"
        return _estimate(metric, method, None, 0, 0, confidence, len(known), len(tasks), (note,))
    orders = np.asarray([seen.order for seen, _ in known], dtype=np.float64)
    place = (orders - orders.mean()) / max(1.0, float(np.ptp(orders)))
    columns = [[1.0, *(float(name in {("arm", seen.arm), ("task", seen.task)}) for name in names)] for seen, _ in known]
    design = np.column_stack([np.asarray(columns), place])
    rank = int(np.linalg.matrix_rank(design))
    if rank < design.shape[1]:
        note = "the order cannot be told from arms and tasks"
        return _estimate(metric, method, None, 0, 0, confidence, len(known), len(tasks), (note,))
    values = np.asarray([value for _, value in known])
    fitted, *_ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(known) - rank
    noise = float(((values - design @ fitted) ** 2).sum()) / freedom
    error = math.sqrt(noise * float(np.linalg.inv(design.T @ design)[-1, -1]))
    return _estimate(metric, method, float(fitted[-1]), error, freedom, confidence, len(known), len(tasks), ())


def _estimate(
    metric: Metric,
    method: str,
    effect: float | None,
    error: float,
    freedom: int,
    confidence: float,
    n: int,
    tasks: int,
    notes: tuple[str, ...],
) -> Estimate:
    if effect is None or error <= 1e-12:
        reason = notes or ("no spread to tell an interval by",)
        value = None if effect is None else math.exp(effect)
        return Estimate(
            metric=metric.name, scale="ratio", method=method, value=value, pairs=n, tasks=tasks, notes=reason
        )
    half = error * float(stats.t.ppf((1 + confidence) / 2, freedom))
    return Estimate(
        metric=metric.name,
        scale="ratio",
        method=method,
        value=math.exp(effect),
        interval=Interval(math.exp(effect - half), math.exp(effect + half), confidence),
        p=2 * float(stats.t.sf(abs(effect) / error, freedom)),
        pairs=n,
        tasks=tasks,
        notes=notes,
    )
