"""The effect of an arm on each task for itself, beside its pairs: where an effect comes from. Pure, and no test.

With two pairs a task says nothing alone, so there is no interval and no word here: what is told is the verdict over all
tasks. A task on which the effect is of the other sign, or several times as large, is one to look at.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from harness.stats import Metric, Observation, Pair, log_ratios, pair_up
from harness.stats.wins import outcome
from profiler.ab_document import TaskRow

__all__ = ["by_task"]

_RATIOS = ("time to success", "ratio")


def by_task(
    seen: Iterable[Observation], baseline: str, treatment: str, metric: Metric, tasks: Sequence[str]
) -> tuple[TaskRow, ...]:
    """A row for each task, in the plan's order; of a task without pairs too."""
    pairs = pair_up(seen, baseline, treatment).pairs
    return tuple(_row(task, [pair for pair in pairs if pair.task == task], metric) for task in tasks)


def _row(task: str, pairs: Sequence[Pair], metric: Metric) -> TaskRow:
    timed = metric.kind in _RATIOS
    values = [_ratio(pair, metric) if timed else _difference(pair, metric) for pair in pairs]
    known = [value for value in values if value is not None]
    signs = [outcome(ratio, metric) for ratio in log_ratios(pairs, metric).ratios] if timed else list[int]()
    return TaskRow(
        task=task,
        scale="ratio" if timed else "difference",
        value=(statistics.geometric_mean(known) if timed else statistics.fmean(known)) if known else None,
        pairs=tuple(values),
        won=signs.count(1) if timed else None,
        lost=signs.count(-1) if timed else None,
        baseline_passed=sum(pair.baseline.success is True for pair in pairs),
        treatment_passed=sum(pair.treatment.success is True for pair in pairs),
    )


def _ratio(pair: Pair, metric: Metric) -> float | None:
    """Treatment by baseline, where both halves have an end."""
    return next((math.exp(one.least) for one in log_ratios((pair,), metric).ratios if one.whole), None)


def _difference(pair: Pair, metric: Metric) -> float | None:
    first, second = (_value(half, metric) for half in (pair.baseline, pair.treatment))
    return None if first is None or second is None else second - first


def _value(seen: Observation, metric: Metric) -> float | None:
    if metric.kind == "success":
        return None if seen.success is None else float(seen.success)
    return seen.score if metric.kind == "score" else seen.measures.get(metric.name)
