"""TTFT inversion: how many prompt tokens a silent server reused, read from its time to first token. Pure; no engine.

A server that names no cached tokens still shows them: what it reused it did not evaluate. Calibration requests with
nothing cached give the constants of

    t = a + b·u + c·u·(u/2 + k)        u tokens evaluated, k = P - u tokens reused, P tokens in the prompt

(a: request, template, sampling and the first decoded token; b: the layers, for each token; c: attention, for each pair
of tokens). With them a TTFT is solved for u, as an interval, since every time has noise. What the noise does not let us
say is not said: `invert` then gives the reason in words.

The interval makes room for the uncertainty of the fit, the spread at that length, drift as it was seen, load that came
later (`LATER_SLOW_SHARE`) and the cost of reused tokens (`ROOM_SHARE`). Delays are one-sided: they make u look larger
and C smaller, so most of the room is on that side. It aims at the true count in 95 % of requests. A machine that became
slower by more than that room is noticed only where a prompt takes longer than it would uncached: `benchmarks` say how
often that goes wrong. A request that overlapped another, or waited for a model to load, is not for this module. The
caller measures `calibration_lengths`, after one request that is thrown away: a server's first one pays for loading.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Calibration", "Interval", "Sample", "calibration_lengths", "fit", "invert"]

COVERAGE = 0.95
WITHHOLD_SHARE = 0.20
"""No interval is given where its half-width is above this share of the prompt."""
LATER_SLOW_SHARE = 0.35
"""Share by which a request may be slower than the calibration, beyond all spread that it saw: load comes and goes. For
a hit it is a share of few tokens, so it costs little; for a miss it leaves room below `WITHHOLD_SHARE`."""
LATER_FAST_SHARE = 0.20
"""The same for the other side: a calibration that ran under load that is gone, a clock that rises."""
DRIFT_AHEAD = 1.5
"""Drift goes on: from the middle of the calibration, where the fit stands, to its end, and as far again."""
ROOM_SHARE = 0.10
"""Further room both ways where most is reused, as a share of evaluating the prompt. Reused tokens cost something, which
a calibration without reuse cannot see; and load that comes or goes changes a short evaluation by more than its share
(measured: twice as fast or slow as the calibration, `benchmarks/ttft_inversion.py`)."""
LONGER_SHARE = 0.10
"""How far beyond the longest calibrated prompt the constants are used."""
BATCH_TOKENS = 16
"""Kernels compute tokens in steps, so a count is known to no better than this. (The larger step, a batch of 512 that
costs nearly as much when it is not full, is in the residuals: `calibration_lengths` end anywhere in a batch.)"""
MIN_SAMPLES, MIN_LENGTHS, MIN_RANGE = 8, 4, 4
"""Least number of samples, of distinct lengths, and least ratio of the longest to the shortest."""

# Eleven days, and more tokens than any context holds: beyond is no measurement, and could overflow.
_MAX_NS, _MAX_TOKENS = 10**15, 10**8
# Least spread: what the wake-up of a waiting client varies by, and a share, since no machine repeats itself better.
_CLOCK_NS, _LEAST_SHARE = 50_000.0, 0.002
_ROUNDS, _GRID, _SHORTEST_TOKENS = 12, 16_384, 64
# Standard deviation over median deviation; cut of the biweight for 95 % efficiency (Beaton and Tukey, 1974).
_MAD_TO_SIGMA, _TUKEY = 1.4826, 4.685
_LEAST_WEIGHT, _LEAST_FREEDOM, _STRETCH = 1e-4, 0.2, 1.5
_SUBSETS = tuple(list(chosen) for size in (1, 2, 3) for chosen in combinations(range(3), size))
# Requests of each of six sizes, together as dear as five of the longest, and the order of the sizes in a round. Repeats
# are shorter by a share each, so that they end at different places in a batch of the engine.
_REPEATS, _MIXED, _JITTER = (2, 3, 4, 4, 4, 4), (0, 3, 1, 4, 2, 5), 0.07

Array = NDArray[np.float64]


class Sample(msgspec.Struct, frozen=True):
    """One calibration request of which nothing was cached: its prompt tokens and its time to first token."""

    uncached_tokens: int
    ttft_ns: int


class Calibration(msgspec.Struct, frozen=True):
    """The fitted constants of one server and model, with what is needed to say how far they hold.

    `covariance_ns2` is of (a, b·longest, c·longest²), row by row: that scale keeps it well conditioned. The spread of a
    TTFT that takes `t` is `hypot(spread_ns, spread_share·t)`, one standard deviation; `slow_spreads` and `fast_spreads`
    say how many of them bound the requests that were slower and faster than the fit. `drift_share` is the change of
    speed between the first sample and the last. Samples are in the order measured.
    """

    overhead_ns: float
    per_token_ns: float
    per_pair_ns: float
    covariance_ns2: tuple[float, ...]
    spread_ns: float
    spread_share: float
    slow_spreads: float
    fast_spreads: float
    drift_share: float
    shortest_tokens: int
    longest_tokens: int
    samples: tuple[Sample, ...]


class Interval(msgspec.Struct, frozen=True):
    """Bounds of the cached tokens of one request (95 %): 0 <= low <= high <= P - 1."""

    low_tokens: int
    high_tokens: int


def calibration_lengths(longest_tokens: int) -> tuple[int, ...]:
    """Prompt lengths to measure, in this order, for prompts of up to `longest_tokens`: 21 of them, of 6 sizes.

    Each round takes the sizes the other way round, so that drift does not look like curvature. None below 8 tokens.
    """
    if longest_tokens < 2 * MIN_RANGE:
        return ()
    shortest = max(longest_tokens / 2 ** (len(_REPEATS) - 1), min(_SHORTEST_TOKENS, longest_tokens / MIN_RANGE))
    ratio = (shortest / longest_tokens) ** (1 / (len(_REPEATS) - 1))
    sizes = [longest_tokens * ratio**step for step in range(len(_REPEATS))]
    lengths: list[int] = []
    for turn in range(max(_REPEATS)):
        measured = [round(sizes[size] * (1 - _JITTER * turn)) for size in _MIXED if _REPEATS[size] > turn]
        lengths += measured if turn % 2 == 0 else measured[::-1]
    return tuple(lengths)


def fit(samples: Sequence[Sample]) -> Calibration | None:
    """Fit the constants to calibration requests, in the order measured.

    Weighted least squares with a, b, c >= 0, reweighted so that requests which a busy machine delayed do not tilt it;
    they still count for the spread. `None` where nothing could be told from the result: too few samples or lengths, a
    time that is none, no growth with length, or a spread in which the longest prompt is lost.
    """
    if not _usable(samples):
        return None
    tokens = np.array([sample.uncached_tokens for sample in samples], dtype=np.float64)
    times = np.array([sample.ttft_ns for sample in samples], dtype=np.float64)
    longest, count = int(tokens.max()), len(samples)
    basis = _basis(tokens, tokens, longest)

    constants = _robust(basis, times)
    fitted = basis @ constants
    constant, relative = _spread(times - fitted, fitted)
    for _ in range(_ROUNDS):
        constants = _bounded(basis, times, _weights(times - fitted, np.hypot(constant, relative * fitted)))
        fitted = basis @ constants
        constant, relative = _spread(times - fitted, fitted)
    if constants[1] <= 0 and constants[2] <= 0:
        return None

    spread = np.hypot(constant, relative * fitted)
    weights = _weights(times - fitted, spread)
    covariance = np.linalg.pinv(basis.T @ (basis * weights[:, None]))
    leverage = np.einsum("ij,jk,ik->i", basis, covariance, basis) * weights
    # What the fit would say of each sample had it not been in it.
    without = np.maximum(_CLOCK_NS, times - (times - fitted) / np.clip(1 - leverage, _LEAST_FREEDOM, 1.0))
    share = spread / fitted
    slow, fast = (times / without - 1) / share, (without / times - 1) / share
    normal = _student_quantile((1 + COVERAGE) / 2, count - basis.shape[1])
    calibration = Calibration(
        overhead_ns=float(constants[0]),
        per_token_ns=float(constants[1] / longest),
        per_pair_ns=float(constants[2] / longest**2),
        covariance_ns2=tuple(float(value) for value in covariance.ravel()),
        spread_ns=constant,
        spread_share=relative,
        slow_spreads=max(normal, _bound(slow)),
        fast_spreads=max(normal, _bound(fast)),
        drift_share=_drift((times - fitted) / fitted),
        shortest_tokens=int(tokens.min()),
        longest_tokens=longest,
        samples=tuple(samples),
    )
    _, fastest, slowest = _bounds(calibration, longest)
    return calibration if fastest[-1] > slowest[0] else None


def invert(calibration: Calibration, prompt_tokens: int, ttft_ns: int) -> Interval | str:
    """The cached tokens of a request, or in words why its TTFT does not tell them.

    Args:
        calibration: of the same server, model and settings.
        prompt_tokens: the whole prompt, P.
        ttft_ns: time to first token, without time that it waited for a model to load or for other requests.
    """
    if prompt_tokens < 1 or ttft_ns < 1:
        return "no measurement: the prompt or the time to first token is empty"
    if prompt_tokens > calibration.longest_tokens * (1 + LONGER_SHARE):
        return f"too long: {prompt_tokens} tokens, calibrated up to {calibration.longest_tokens}"
    uncached, fastest, slowest = _bounds(calibration, prompt_tokens)
    if fastest[-1] <= slowest[0]:
        return f"too short: {prompt_tokens} tokens do not stand out of the noise of a request's fixed cost"
    if ttft_ns > slowest[-1]:
        return "too slow: longer than the whole prompt uncached; the request waited, or the machine became busier"
    if ttft_ns < fastest[0]:
        return "too fast: shorter than the whole prompt cached; the machine became faster since the calibration"
    # The counts of evaluated tokens that can take this time: both ends only grow with it, whatever the bounds' shape.
    margin = BATCH_TOKENS + prompt_tokens // _GRID
    most = int(uncached[np.flatnonzero(fastest <= ttft_ns)[-1]]) + margin
    least = int(uncached[np.flatnonzero(slowest >= ttft_ns)[0]]) - margin
    low, high = max(0, prompt_tokens - most), min(prompt_tokens - 1, prompt_tokens - least)
    half = (high - low) / 2 / prompt_tokens
    if half > WITHHOLD_SHARE:
        return f"too wide: known only to ±{half:.0%} of the prompt, which is above {WITHHOLD_SHARE:.0%}"
    return Interval(low, high)


def _basis(uncached: Array, prompt_tokens: Array | int, longest: int) -> Array:
    """What the constants (a, b·longest, c·longest²) are multiplied by."""
    share, whole = uncached / longest, prompt_tokens / longest
    return np.column_stack([np.ones_like(share), share, share * (whole - share / 2)])


def _bounds(calibration: Calibration, prompt_tokens: int) -> tuple[Array, Array, Array]:
    """Numbers of evaluated tokens, all of them or as many as tell, and the least and greatest TTFT of each, ns."""
    uncached, longest = np.linspace(1.0, prompt_tokens, min(prompt_tokens, _GRID)), calibration.longest_tokens
    basis = _basis(uncached, prompt_tokens, longest)
    scaled = (calibration.overhead_ns, calibration.per_token_ns * longest, calibration.per_pair_ns * longest**2)
    expected: Array = basis @ np.array(scaled)
    covariance = np.array(calibration.covariance_ns2).reshape(3, 3)
    of_fit = np.maximum(0.0, np.einsum("ij,jk,ik->i", basis, covariance, basis))
    spread = np.sqrt(calibration.spread_ns**2 + (calibration.spread_share * expected) ** 2 + of_fit) / expected
    drift = DRIFT_AHEAD * abs(calibration.drift_share)
    slow = np.hypot(calibration.slow_spreads * spread, LATER_SLOW_SHARE) + drift
    fast = np.hypot(calibration.fast_spreads * spread, LATER_FAST_SHARE) + drift
    room = ROOM_SHARE * (expected[-1] - calibration.overhead_ns) * (1 - uncached / prompt_tokens)
    return uncached, expected / (1 + fast) - room, expected * (1 + slow) + room


def _usable(samples: Sequence[Sample]) -> bool:
    measured = all(0 < s.uncached_tokens <= _MAX_TOKENS and 0 < s.ttft_ns <= _MAX_NS for s in samples)
    if len(samples) < MIN_SAMPLES or not measured:
        return False
    lengths = {sample.uncached_tokens for sample in samples}
    return len(lengths) >= MIN_LENGTHS and max(lengths) >= MIN_RANGE * min(lengths)


def _robust(basis: Array, times: Array) -> Array:
    """Least absolute deviations relative to the time, by reweighting: a first fit that outliers do not lead."""
    constants = _bounded(basis, times, 1 / times**2)
    for _ in range(_ROUNDS):
        fitted = basis @ constants
        away, scale = np.abs(times - fitted), np.maximum(fitted, _CLOCK_NS)
        constants = _bounded(basis, times, 1 / (np.maximum(away, _CLOCK_NS) * scale))
    return constants


def _bounded(basis: Array, times: Array, weights: Array) -> Array:
    """Weighted least squares with no negative constant: the best of all sets of constants that are not zero."""
    root = np.sqrt(weights)
    best, least = np.zeros(basis.shape[1]), math.inf
    for chosen in _SUBSETS:
        found = np.linalg.lstsq(basis[:, chosen] * root[:, None], times * root, rcond=None)[0]
        if np.any(found < 0):
            continue
        constants = np.zeros(basis.shape[1])
        constants[chosen] = found
        rest = float(np.sum(weights * (times - basis @ constants) ** 2))
        if rest < least:
            best, least = constants, rest
    return best


def _spread(residuals: Array, fitted: Array) -> tuple[float, float]:
    """Constant (ns) and proportional spread, standard deviations, from the medians of short and of long requests."""
    fitted = np.maximum(fitted, _CLOCK_NS)
    order = np.argsort(fitted)
    short, long = order[: len(order) // 2], order[len(order) // 2 :]
    inflation = _MAD_TO_SIGMA * math.sqrt(len(order) / (len(order) - 3))
    share = max(_LEAST_SHARE, inflation * float(np.median(np.abs(residuals[long]) / fitted[long])))
    of_short = inflation * float(np.median(np.abs(residuals[short])))
    explained = share * float(np.median(fitted[short]))
    return max(_CLOCK_NS, math.sqrt(max(0.0, of_short**2 - explained**2))), share


def _weights(residuals: Array, spread: Array) -> Array:
    """Biweight over variance."""
    within: Array = np.minimum(1.0, np.abs(residuals) / spread / _TUKEY)
    weights: Array = np.maximum(_LEAST_WEIGHT, (1 - within**2) ** 2) / spread**2
    return weights


def _bound(scores: Array) -> float:
    """A bound that the next score keeps with `COVERAGE`: rank `ceil(COVERAGE (n + 1))` of n, as in split conformal
    prediction (Vovk, Gammerman and Shafer, 2005). Fewer than 19 have no such rank; the greatest is then stretched.
    """
    rank = math.ceil(COVERAGE * (len(scores) + 1))
    ordered = np.sort(scores)
    return float(ordered[rank - 1]) if rank <= len(ordered) else float(ordered[-1]) * _STRETCH


def _drift(shares: Array) -> float:
    """Change from the first sample to the last, as a share: the median of all pairwise slopes (Theil, Sen)."""
    first, second = np.triu_indices(len(shares), 1)
    return float(np.median((shares[second] - shares[first]) / (second - first))) * (len(shares) - 1)


def _student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t by the expansion in Abramowitz and Stegun, 26.7.5; within 0.5 % from 5 degrees on."""
    z = NormalDist().inv_cdf(probability)
    terms = (z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return math.fsum(term * float(freedom) ** -power for power, term in enumerate(terms))
