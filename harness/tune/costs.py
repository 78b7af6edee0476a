"""Observations as costs, of which less is better, whatever the metric: to rank settings by, not to judge them. Pure.

Of a ratio metric the cost is the logarithm, of a failure that of its limit. Verdicts are made by `harness.stats`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.stats import Metric, Observation, log_ratios, pair_up
from harness.stats.ratios import bounds_of

__all__ = ["cost_of", "is_ratio", "mean_costs", "paired_cost"]


def is_ratio(metric: Metric) -> bool:
    """Whether costs of this metric are logarithms."""
    return metric.kind in {"time to success", "ratio"}


def cost_of(seen: Observation, metric: Metric) -> float | None:
    """The cost of one dispatch; `None` where it is not known, or a fault ended it."""
    if seen.excluded:
        return None
    if is_ratio(metric):
        bounds = bounds_of(seen, metric)
        if isinstance(bounds, str):
            return None
        return _signed(metric, math.log(bounds[0]))
    value = _plain(seen, metric)
    return None if value is None else _signed(metric, value)


def mean_costs(observations: Iterable[Observation], metric: Metric) -> dict[tuple[str, str], float]:
    """The mean cost of each arm on each task."""
    found: dict[tuple[str, str], list[float]] = {}
    for seen in observations:
        cost = cost_of(seen, metric)
        if cost is not None:
            found.setdefault((seen.arm, seen.task), []).append(cost)
    return {key: math.fsum(costs) / len(costs) for key, costs in found.items()}


def paired_cost(observations: Iterable[Observation], baseline: str, arm: str, metric: Metric) -> float | None:
    """What an arm costs more than another on the same tasks in the same blocks; the mean of the tasks' means."""
    pairs = pair_up(observations, baseline, arm).pairs
    by_task: dict[str, list[float]] = {}
    if is_ratio(metric):
        ratios = log_ratios(pairs, metric)
        for ratio in ratios.ratios:
            by_task.setdefault(ratio.task, []).append(_signed(metric, ratio.cut_off))
        for task in ratios.even:
            by_task.setdefault(task, []).append(0.0)
    else:
        for pair in pairs:
            first, second = _plain(pair.baseline, metric), _plain(pair.treatment, metric)
            if first is not None and second is not None:
                by_task.setdefault(pair.task, []).append(_signed(metric, second - first))
    if not by_task:
        return None
    return math.fsum(math.fsum(values) / len(values) for values in by_task.values()) / len(by_task)


def _plain(seen: Observation, metric: Metric) -> float | None:
    if metric.kind == "success":
        return None if seen.success is None else float(seen.success)
    return seen.score if metric.kind == "score" else seen.measures.get(metric.name)


def _signed(metric: Metric, value: float) -> float:
    return value if metric.better == "lower" else -value
