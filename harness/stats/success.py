"""How often an arm succeeds, and whether two arms differ in that: Wilson, Newcombe, McNemar, tasks as clusters.

The difference of two arms has two intervals here: Student's over the tasks' mean differences, which knows that pairs of
one task are alike and has no width where all tasks give the same; and Newcombe's from Wilson's, which always has a
width and takes each pair for itself. The wider of the two counts on each side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.stats.base import Estimate, Interval, Metric, Observation, Pair
from harness.stats.locations import student
from harness.stats.pairing import Paired, counted, units_of

__all__ = [
    "MOST_PAIRS", "compare_success", "mcnemar_p", "newcombe", "outcome_cells", "pairs_to_rule_out", "rate_interval",
    "success_rate", "wilson",
]  # fmt: skip

Floats = NDArray[np.float64]
MOST_PAIRS: Final = 2000
"""More than this are not a plan."""


def wilson(hits: Floats, n: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Wilson's score interval of a rate, for arrays of counts; n must be above 0."""
    z = float(stats.norm.ppf((1 + confidence) / 2))
    rate = hits / n
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.minimum(np.maximum(0.0, middle - half), rate), np.maximum(np.minimum(1.0, middle + half), rate)


def newcombe(cells: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Newcombe's interval (his method 10) of the difference of two paired rates, second less first.

    Args:
        cells: along the last axis, how many pairs succeeded in both arms, the first alone, the second alone, none.
        confidence: for instance 0.95.
    """
    both, lost, won, neither = (cells[..., place] for place in range(4))
    n = both + lost + won + neither
    first, second = both + lost, both + won
    (low_1, high_1), (low_2, high_2) = wilson(first, n, confidence), wilson(second, n, confidence)
    rate_1, rate_2 = first / n, second / n
    together = both * neither - lost * won
    together = np.where(together > 0, np.maximum(together - n / 2, 0), together)
    scale = np.sqrt(first * (n - first) * second * (n - second))
    phi = np.divide(together, scale, out=np.zeros_like(scale), where=scale > 0)
    down_1, up_1, down_2, up_2 = rate_1 - low_1, high_1 - rate_1, rate_2 - low_2, high_2 - rate_2
    below = np.sqrt(np.maximum(0, down_2**2 - 2 * phi * down_2 * up_1 + up_1**2))
    above = np.sqrt(np.maximum(0, up_2**2 - 2 * phi * up_2 * down_1 + down_1**2))
    return rate_2 - rate_1 - below, rate_2 - rate_1 + above


def pairs_to_rule_out(cells: Sequence[float], fall: float, confidence: float) -> int | None:
    """About how many pairs rule out a larger fall of the rate of success, if they succeed as often as `cells` do.

    `cells` as for `newcombe`; (1, 0, 0, 0), where nothing fails, is the fewest that can be. None: more than 2000.
    """
    shares = np.asarray(cells, dtype=np.float64) / sum(cells)
    n = np.arange(1, MOST_PAIRS + 1, dtype=np.float64)
    low, _ = newcombe(shares * n[:, None], confidence)
    enough = np.flatnonzero(low > -fall)
    return int(n[enough[0]]) if enough.size else None


def rate_interval(hits: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Wilson's interval of `hits` in `n`; None of nothing."""
    if n == 0:
        return None
    low, high = wilson(np.asarray(float(hits)), np.asarray(float(n)), confidence)
    return Interval(float(low), float(high), confidence)


def success_rate(observations: Iterable[Observation], arm: str, confidence: float = 0.95) -> Estimate:
    """An arm's rate of success by Wilson; dispatches that were excluded or not judged are left out and counted."""
    own = [seen for seen in observations if seen.arm == arm]
    judged = [seen for seen in own if not seen.excluded and seen.success is not None]
    hits, n = sum(seen.success is True for seen in judged), len(judged)
    faults = sum(seen.excluded for seen in own)
    return Estimate(
        metric="success",
        scale="rate",
        method="Wilson",
        value=hits / n if n else None,
        interval=rate_interval(hits, n, confidence),
        pairs=n,
        tasks=len({seen.task for seen in judged}),
        notes=counted({"dispatch ended by a fault": faults, "dispatch not judged": len(own) - n - faults}),
    )


def outcome_cells(pairs: Iterable[Pair]) -> tuple[int, int, int, int]:
    """How many pairs succeeded in both arms, in the baseline alone, in the treatment alone, in none; as judged."""
    judged = [(pair.baseline.success, pair.treatment.success) for pair in pairs]
    return (
        judged.count((True, True)),
        judged.count((True, False)),
        judged.count((False, True)),
        judged.count((False, False)),
    )


def mcnemar_p(lost: int, won: int) -> float:
    """The exact two-sided p of McNemar's test, from the pairs in which one arm alone succeeded; 1 without any."""
    return float(stats.binomtest(won, lost + won).pvalue) if lost + won else 1.0


def compare_success(paired: Paired, metric: Metric, confidence: float = 0.95) -> tuple[Estimate, tuple[Estimate, ...]]:
    """The difference in the rate of success; beside it McNemar's test, which takes each pair for itself.

    The p is the larger of Student's and McNemar's, as the interval is the wider of two.
    """
    judged = [pair for pair in paired.pairs if None not in (pair.baseline.success, pair.treatment.success)]
    outcomes = [(bool(pair.baseline.success), bool(pair.treatment.success)) for pair in judged]
    tasks = [pair.task for pair in judged]
    notes = (*paired.notes, *counted({"pair not judged": len(paired.pairs) - len(judged)}))
    if not judged:
        return Estimate(
            metric=metric.name,
            scale="difference",
            method="none",
            pairs=0,
            tasks=0,
            notes=(*notes, "no pair was judged"),
        ), ()
    cells = outcome_cells(judged)
    _, lost, won, _ = cells
    low, high = (float(bound) for bound in newcombe(np.asarray(cells, dtype=np.float64), confidence))
    units = units_of(tasks, [float(second) - float(first) for first, second in outcomes])
    by_task = student(units.values, confidence)
    exact = mcnemar_p(lost, won)
    told = not np.isnan(by_task.low)
    main = Estimate(
        metric=metric.name,
        scale="difference",
        method="the wider of t over tasks and Newcombe" if told else "Newcombe",
        value=(won - lost) / len(judged),
        interval=Interval(
            max(-1.0, min(low, float(by_task.low)) if told else low),
            min(1.0, max(high, float(by_task.high)) if told else high),
            confidence,
        ),
        p=max(exact, float(by_task.p)) if told else exact,
        pairs=len(judged),
        tasks=len(units.values),
        spread=units.spread,
        within=units.within,
        notes=notes,
    )
    beside = Estimate(
        metric=metric.name,
        scale="difference",
        method="exact McNemar",
        value=main.value,
        p=exact,
        pairs=len(judged),
        tasks=main.tasks,
        notes=(f"only baseline succeeded in {lost} pairs, only treatment in {won}",),
    )
    return main, (beside,)
