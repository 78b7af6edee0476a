"""Which arm was sooner, pair by pair, where not every dispatch has an end: won less lost, as a share of the pairs.

A mean of times does not exist once some are only known to be longer than a limit, and a ratio of times that are cut off
depends on where they are cut. Which of two was sooner is known whenever one of them succeeded: the one that did. A pair
is won by the treatment, lost, or even (no success in either arm). Each task gives its pairs' mean of +1, −1 and 0, and
Student's t over the tasks an interval; a score interval that takes each pair for itself stands in where the tasks show
no spread, and the wider of the two counts on each side. Half of 1 + the figure is the chance that the treatment is
sooner on a task like these.

Beside it: the ratio of times cut off at their limits, and of those pairs alone that succeeded in both arms, which is a
selection.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.stats.base import Estimate, Interval, Metric
from harness.stats.locations import student
from harness.stats.pairing import units_of
from harness.stats.ratios import LogRatio, compare_ratio
from harness.stats.success import wilson

__all__ = ["compare_wins", "outcome", "share_interval"]

Floats = NDArray[np.float64]


def outcome(ratio: LogRatio, metric: Metric) -> int:
    """+1 where the treatment was better, −1 where the baseline was, 0 where it cannot be said."""
    above = int(ratio.least > 0) - int(ratio.most < 0)
    return -above if metric.better == "lower" else above


def share_interval(counts: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Of won less lost as a share of all: Wilson's intervals of both, put together with their correlation.

    `counts` are, along the last axis, pairs won, lost, and all.

    Without even pairs it is twice Wilson's interval of the share won, less 1.
    """
    won, lost, n = (counts[..., place] for place in range(3))
    (low_won, high_won), (low_lost, high_lost) = wilson(won, n, confidence), wilson(lost, n, confidence)
    up, down = won / n, lost / n
    room = (1 - up) * (1 - down)
    together = -np.sqrt(np.divide(up * down, room, out=np.ones_like(room), where=room > 0))
    together = np.maximum(-1.0, together)
    below, above = (
        np.sqrt(np.maximum(0, one**2 - 2 * together * one * other + other**2))
        for one, other in ((up - low_won, high_lost - down), (high_won - up, down - low_lost))
    )
    return np.maximum(-1.0, up - down - below), np.minimum(1.0, up - down + above)


def compare_wins(
    ratios: Sequence[LogRatio],
    even: Sequence[str],
    metric: Metric,
    confidence: float = 0.95,
    notes: tuple[str, ...] = (),
) -> tuple[Estimate, tuple[Estimate, ...]]:
    """Won less lost, above 0 where the treatment was better; beside it the ratios, first the one that is cut off.

    Args:
        ratios: of the pairs with an end in one arm at least.
        even: the tasks of the pairs without one.
        metric: says what is better.
        confidence: for instance 0.95.
        notes: passed on.
    """
    outcomes = [*(outcome(ratio, metric) for ratio in ratios), *(0 for _ in even)]
    units = units_of([*(ratio.task for ratio in ratios), *even], [float(each) for each in outcomes])
    won, lost, n = outcomes.count(1), outcomes.count(-1), len(outcomes)
    counts = np.asarray([won, lost, n], dtype=np.float64)
    low, high = (float(bound) for bound in share_interval(counts, confidence))
    by_task = student(units.values, confidence)
    told = not np.isnan(by_task.low)
    by_signs = float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0
    main = Estimate(
        metric=metric.name,
        scale="net wins",
        method="the wider of t over tasks and Wilson" if told else "Wilson over pairs",
        value=(won - lost) / n,
        interval=Interval(
            max(-1.0, min(low, float(by_task.low)) if told else low),
            min(1.0, max(high, float(by_task.high)) if told else high),
            confidence,
        ),
        p=max(by_signs, float(by_task.p)) if told else by_signs,
        pairs=n,
        tasks=len(units.values),
        spread=units.spread,
        within=units.within,
        notes=(
            *notes,
            f"{won} won, {lost} lost, {n - won - lost} even: not every dispatch has an end, so pairs are counted",
        ),
    )
    cut_off, _ = compare_ratio(ratios, metric, confidence)
    whole, _ = compare_ratio([ratio for ratio in ratios if ratio.whole], metric, confidence)
    selected = msgspec.structs.replace(whole, method=f"{whole.method}, both ended", notes=("a selection", *whole.notes))
    return main, (msgspec.structs.replace(cut_off, method=f"{cut_off.method}, cut off at the limit"), selected)
