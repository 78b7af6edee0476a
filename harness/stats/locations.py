"""Where the middle of a few values lies, with an interval: Student's t, signed ranks, flipped signs. Only numbers.

Each function takes an array whose *last* axis is the sample, and works on all others at once: a comparison gives one
row, a simulation of ten thousand comparisons gives ten thousand. A bound that the sample is too small to set is
infinite. What the values are (logarithms of ratios, differences) and whether there are enough is the caller's.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["MOST_ENUMERATED", "Located", "least_ranked", "sign_flip_p", "signed_rank", "student"]

Floats = NDArray[np.float64]

MOST_ENUMERATED: Final = 12
"""Signs of so many values are flipped in every way (4096 of them); more are left to the t test."""

_ROUNDING: Final = 1e-12
"""Logarithms and differences that are closer are equal."""


class Located(NamedTuple):
    """Estimate, the two bounds, and the two-sided p of «the middle is zero»; one of each per sample."""

    value: Floats
    low: Floats
    high: Floats
    p: Floats


def student(values: Floats, confidence: float) -> Located:
    """The mean, with the interval and the test of Student's t.

    Values that are all the same, but for rounding, leave no spread to tell an interval by: bounds and p are then NaN,
    as with one value.
    """
    n: int = values.shape[-1]
    mean = values.mean(axis=-1)
    if n < 2:
        unknown = np.full_like(mean, np.nan)
        return Located(mean, unknown, unknown, unknown)
    same = np.ptp(values, axis=-1) <= _ROUNDING * np.maximum(1.0, np.abs(values).max(axis=-1))
    error = np.where(same, np.nan, values.std(axis=-1, ddof=1) / np.sqrt(n))
    half = error * float(stats.t.ppf((1 + confidence) / 2, n - 1))
    p = 2 * np.asarray(stats.t.sf(np.abs(mean / error), n - 1), dtype=np.float64)
    return Located(mean, mean - half, mean + half, p)


def signed_rank(values: Floats, confidence: float) -> Located:
    """The Hodges–Lehmann estimate with Wilcoxon's exact interval and test, from the averages of all pairs.

    Ties make the test stricter, never looser.
    """
    averages = _walsh(values)
    n, size = values.shape[-1], averages.shape[-1]
    left_out = _left_out(n, (1 - confidence) / 2)
    infinite = np.full(values.shape[:-1], np.inf)
    low = averages[..., left_out] if left_out >= 0 else -infinite
    high = averages[..., size - 1 - left_out] if left_out >= 0 else infinite
    tail = _tail(n)
    p = 2 * np.minimum(tail[(averages > _ROUNDING).sum(axis=-1)], tail[(averages < -_ROUNDING).sum(axis=-1)])
    middle = (averages[..., (size - 1) // 2] + averages[..., size // 2]) / 2
    return Located(middle, low, high, np.minimum(1.0, p))


def sign_flip_p(values: Floats) -> Floats:
    """The exact two-sided p of «the mean is zero» if each value could as well have had the other sign.

    All 2^n signs are enumerated, the ones that are seen among them, so that p is never 0.

    Raises:
        ValueError: more than `MOST_ENUMERATED` values.
    """
    n: int = values.shape[-1]
    if n > MOST_ENUMERATED:
        raise ValueError(f"{n} values have 2^{n} signs: ask the t test")
    halves = [(1.0, *rest) for rest in product((1.0, -1.0), repeat=n - 1)]  # the other half mirrors these
    signs = np.asarray(halves, dtype=np.float64)
    sums = np.abs(values @ signs.T)
    seen = np.abs(values.sum(axis=-1, keepdims=True))
    rounding = _ROUNDING * np.abs(values).sum(axis=-1, keepdims=True)
    return np.asarray((sums >= seen - rounding).mean(axis=-1), dtype=np.float64)


def least_ranked(confidence: float) -> int:
    """The fewest values that can set a bound by signed ranks: 6 at 95 %."""
    return int(np.ceil(1 - np.log2(1 - confidence)))


def _walsh(values: Floats) -> Floats:
    first, second = np.triu_indices(values.shape[-1])
    return np.sort((values[..., first] + values[..., second]) / 2, axis=-1)


@cache
def _tail(n: int) -> Floats:
    """P(T ≥ t) for t = 0 … n(n+1)/2, of Wilcoxon's T under the null: a sum of ranks, each in it or not."""
    chances = np.ones(1)
    for rank in range(1, n + 1):
        longer = np.zeros(len(chances) + rank)
        longer[: len(chances)] += chances / 2
        longer[rank:] += chances / 2
        chances = longer
    return np.cumsum(chances[::-1])[::-1]


@cache
def _left_out(n: int, tail: float) -> int:
    """How many averages lie outside each bound, less one; −1 if even the outermost may be inside."""
    at_most = _tail(n)[::-1]  # the distribution is symmetric: P(T ≤ t) = P(T ≥ M − t)
    return int(np.searchsorted(at_most, tail * (1 + 1e-12), side="right")) - 1
