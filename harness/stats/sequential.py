"""Stopping as soon as it is clear, without more false alarms: a test by signs that may be looked at after every pair.

Each pair that is not a tie is won by the treatment or lost. If the arms do not differ, that is the toss of a fair coin,
whatever was seen before. The e-value is what a gambler has who bets on it, with the bets mixed by a Beta distribution:

    log E = ln B(won + a, lost + a) − ln B(a, a) + (won + lost) · ln 2

Without a difference, E ever reaches 1/alpha in at most alpha of all experiments (Ville), so that one may stop there and
at no other time, or go on. What it tests is «no difference in any pair of *these tasks*»: many repeats of few tasks can
decide it, and say nothing of other tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.stats.base import Interval, Metric, Pair
from harness.stats.ratios import log_ratios
from harness.stats.wins import outcome

__all__ = ["Sequential", "in_time", "least_wins", "log_e_value", "look", "ratio_always", "win_rate_always"]

Floats = NDArray[np.float64]


class Sequential(msgspec.Struct, frozen=True):
    """The test as it stands. `stop`: the e-value has once reached 1/alpha. Both intervals hold at every look."""

    won: int
    lost: int
    tied: int
    e_value: float
    stop: bool
    stopped_after: int | None
    """Pairs with an end in one arm at least, when it first was decided."""
    win_rate: Interval
    ratio: Interval
    """Of the typical (median) ratio of a pair."""
    for_treatment: bool | None = None
    """Which arm it was decided for, when it was."""


def log_e_value(won: Floats, lost: Floats, a: float = 1.0, chance: float = 0.5) -> Floats:
    """The logarithm of the e-value against «a pair is won with this chance», for arrays of counts."""
    bets = special.betaln(won + a, lost + a) - special.betaln(a, a)
    return np.asarray(bets - special.xlogy(won, chance) - special.xlog1py(lost, -chance), dtype=np.float64)


def win_rate_always(won: int, lost: int, alpha: float = 0.05, a: float = 1.0) -> Interval:
    """The chances of winning that E does not rule out: an interval that holds at every look at once."""
    limit = math.log(1 / alpha)
    rate = won / (won + lost) if won + lost else 0.5
    low = 0.0 if won == 0 else _edge(won, lost, a, limit, 0.0, rate)
    high = 1.0 if lost == 0 else _edge(won, lost, a, limit, 1.0, rate)
    return Interval(low, high, 1 - alpha)


def ratio_always(least: Sequence[float], most: Sequence[float], alpha: float = 0.05, a: float = 1.0) -> Interval:
    """The same for the median of the pairs' ratio, from their logarithms: at least and at most, in any order."""
    n = len(least)
    counts = np.arange(n + 1, dtype=np.float64)
    ruled_out = log_e_value(counts, n - counts, a) >= math.log(1 / alpha)
    # A median below the k-th smallest value would have at most k − 1 values on its own side.
    outside = int(np.argmin(ruled_out)) if not ruled_out.all() else n
    if outside == 0:
        return Interval(None, None, 1 - alpha)
    low, high = sorted(least)[outside - 1], sorted(most)[n - outside]
    return Interval(None if math.isinf(low) else math.exp(low), None if math.isinf(high) else math.exp(high), 1 - alpha)


def least_wins(pairs: int, alpha: float = 0.05, a: float = 1.0) -> int | None:
    """How many of so many pairs have to be won for a decision at their end; `None` if even all would not do."""
    won = np.arange(pairs // 2 + 1, pairs + 1, dtype=np.float64)
    enough = np.flatnonzero(log_e_value(won, pairs - won, a) >= math.log(1 / alpha))
    return int(won[enough[0]]) if enough.size else None


def in_time(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """The pairs in the order in which they became complete: a look takes no other, or it looks at what never was."""
    return tuple(sorted(pairs, key=lambda pair: max(pair.baseline.order, pair.treatment.order)))


def look(pairs: Sequence[Pair], metric: Metric, alpha: float = 0.05, a: float = 1.0) -> Sequential:
    """The test over the pairs so far, in their order; a pair is won where the treatment was better.

    Pairs without a success in either arm are ties, as are equal values; neither moves the e-value.
    """
    ratios = log_ratios(pairs, metric).ratios
    outcomes = np.asarray([outcome(ratio, metric) for ratio in ratios], dtype=np.float64)
    wins, losses = np.cumsum(outcomes > 0), np.cumsum(outcomes < 0)
    path = log_e_value(wins.astype(np.float64), losses.astype(np.float64), a)
    crossed = np.flatnonzero(path >= math.log(1 / alpha))
    first = int(crossed[0]) if crossed.size else None
    n_won, n_lost = (int(counts[-1]) if len(ratios) else 0 for counts in (wins, losses))
    return Sequential(
        won=n_won,
        lost=n_lost,
        tied=len(pairs) - n_won - n_lost,
        e_value=math.exp(min(700.0, float(path[-1]))) if len(ratios) else 1.0,
        stop=first is not None,
        stopped_after=None if first is None else first + 1,
        win_rate=win_rate_always(n_won, n_lost, alpha, a),
        ratio=ratio_always([ratio.least for ratio in ratios], [ratio.most for ratio in ratios], alpha, a),
        for_treatment=None if first is None else bool(wins[first] > losses[first]),
    )


def _edge(won: int, lost: int, a: float, limit: float, outside: float, inside: float) -> float:
    """Where between two chances the e-value reaches its limit, by halving; the side that is ruled out is returned."""
    counts = np.asarray(float(won)), np.asarray(float(lost))
    for _ in range(60):
        middle = (outside + inside) / 2
        if float(log_e_value(*counts, a, middle)) >= limit:
            outside = middle
        else:
            inside = middle
    return outside
