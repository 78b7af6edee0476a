"""Scores, and other values that are subtracted and not divided: the mean of the tasks' differences, with an interval.

Student's t over the tasks sets the interval. Up to 12 tasks the test is exact, by flipping the signs of the tasks'
differences in every way; from 12 on a bootstrap (BCa) stands beside, which is too narrow with fewer.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np
from scipy import stats

from harness.stats.base import Estimate, Interval, Metric, Observation
from harness.stats.locations import MOST_ENUMERATED, Floats, sign_flip_p, student
from harness.stats.pairing import Paired, counted, units_of

__all__ = ["LEAST_RESAMPLED", "compare_difference"]

LEAST_RESAMPLED: Final = 12
"""Tasks; with 8 a bootstrap that is called 95 % covers 89."""
_RESAMPLES: Final = 4999
_SEED: Final = 6


def compare_difference(
    paired: Paired, metric: Metric, confidence: float = 0.95
) -> tuple[Estimate, tuple[Estimate, ...]]:
    """Treatment minus baseline; the estimate that decides, and a bootstrap beside it where there are tasks enough.

    Scores that differ by the same in all tasks have no spread: a chance q that a next task differs otherwise is then
    still possible up to 1 − alpha^(1/tasks), and the interval allows for it.
    """
    known = [
        (pair.task, second - first)
        for pair in paired.pairs
        if (first := _value(pair.baseline, metric)) is not None
        and (second := _value(pair.treatment, metric)) is not None
    ]
    notes = (*paired.notes, *counted({f"pair without {metric.name}": len(paired.pairs) - len(known)}))
    if not known:
        return Estimate(
            metric=metric.name, scale="difference", method="none", pairs=0, tasks=0, notes=(*notes, "no pair has both")
        ), ()
    units = units_of([task for task, _ in known], [difference for _, difference in known])
    located = student(units.values, confidence)
    tasks, value = len(units.values), float(located.value)
    by_signs = tasks <= MOST_ENUMERATED
    main = Estimate(
        metric=metric.name,
        scale="difference",
        method="t over tasks, p by flipped signs" if by_signs else "t over tasks",
        value=value,
        interval=Interval(float(located.low), float(located.high), confidence),
        p=float(sign_flip_p(units.values)) if by_signs else float(located.p),
        pairs=len(known),
        tasks=tasks,
        spread=units.spread,
        within=units.within,
        notes=notes,
    )
    if not math.isnan(located.low):
        if metric.kind == "score" and main.interval is not None and main.interval.low is not None:
            high = main.interval.high if main.interval.high is not None else 1.0
            cut = Interval(max(-1.0, main.interval.low), min(1.0, high), confidence)
            main = msgspec.structs.replace(main, interval=cut)
        return main, (_bootstrap(main, units.values, confidence),) if tasks >= LEAST_RESAMPLED else ()
    if metric.kind != "score" or tasks < 2:
        why = (
            "one task: no spread"
            if tasks < 2
            else "every task gives the same difference: no spread to tell an interval"
        )
        return msgspec.structs.replace(main, interval=None, p=main.p if tasks > 1 else None, notes=(*notes, why)), ()
    missed = 1 - (1 - confidence) ** (1 / tasks)
    interval = Interval(value * (1 - missed) - missed, value * (1 - missed) + missed, confidence)
    why = "every task gives the same difference: the interval allows for tasks that would not"
    return msgspec.structs.replace(main, method="tasks without spread", interval=interval, notes=(*notes, why)), ()


def _bootstrap(main: Estimate, values: Floats, confidence: float) -> Estimate:
    drawn = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=_RESAMPLES,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(_SEED),
    )
    interval = Interval(float(drawn.confidence_interval.low), float(drawn.confidence_interval.high), confidence)
    return msgspec.structs.replace(main, method="BCa bootstrap over tasks", interval=interval, p=None, notes=())


def _value(seen: Observation, metric: Metric) -> float | None:
    return seen.score if metric.kind == "score" else seen.measures.get(metric.name)
