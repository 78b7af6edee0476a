"""What a lost token costs: the engine's own prefill time as a function of how many tokens, after how many.

The model, as in `profiler.inversion`: evaluating u tokens after k that are there already takes

    t = a + b·u + c·u·(u/2 + k)

(b: the work on a token itself; c: attention to each token before it; a: what a request costs in any case). It is fitted
to the requests of one run, so that machine, quant and depth are in it. Losing n tokens that begin at depth k adds

    b·n + c·n·(k + n/2)

which is linear in (b, c): losses add up, and so do their variances. Nothing here knows causes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from profiler.records import RequestRecord

__all__ = ["Loss", "PrefillModel", "Price", "fit_prefill", "samples_of"]

Floats = NDArray[np.float64]

MIN_SAMPLES: Final = 5
"""Fewer requests than this leave no residual to tell an interval by (three constants are fitted)."""
CONFIDENCE: Final = 0.95
_OUTLIER: Final = 3.0
"""Requests whose time is off by more than this many robust standard deviations count less: a busy moment is no law."""
_TELLS_CONSTANT: Final = 2.0
"""Lengths that differ by less do not separate the constant from the rate: noise alone would decide."""


class Loss(msgspec.Struct, frozen=True):
    """`tokens` evaluated that need not have been, the first of them at `depth_tokens` of the prompt."""

    depth_tokens: int
    tokens: int


class Price(msgspec.Struct, frozen=True):
    """Seconds of prefill with their 95 % interval; the interval is `None` where too few requests tell it."""

    s: float
    low_s: float | None
    high_s: float | None


class PrefillModel(msgspec.Struct, frozen=True):
    """The fitted constants, in ns: `b_ns` a token, `c_ns` a token and token before it; and their covariance.

    `source` says whose clock: the engine's prefill time, or the client's TTFT.
    """

    a_ns: float
    b_ns: float
    c_ns: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    samples: int
    source: str

    def price(self, losses: Iterable[Loss]) -> Price:
        """The seconds that these losses took together."""
        g = np.zeros(2)
        for loss in losses:
            g += (loss.tokens, loss.tokens * (loss.depth_tokens + loss.tokens / 2))
        ns = float(g @ (self.b_ns, self.c_ns))
        half = self._t() * float(np.sqrt(max(0.0, g @ np.array(self.covariance) @ g)))
        return Price(ns / 1e9, max(0.0, ns - half) / 1e9, (ns + half) / 1e9)

    def pace(self, records: Iterable[RequestRecord]) -> float:
        """What the prefill of these requests took, by what it takes by this model; 1 where the requests do not tell.

        A machine that is busy for some minutes makes all of a dispatch's prefill slower by about this factor.
        """
        samples, source = samples_of(records)
        if source != self.source or not samples:
            return 1.0
        expected = sum(self.a_ns + self.b_ns * u + self.c_ns * u * (u / 2 + k) for u, k, _ in samples)
        return sum(ns for _, _, ns in samples) / expected if expected > 0 else 1.0

    def _t(self) -> float:
        return float(stats.t.ppf(0.5 + CONFIDENCE / 2, max(1, self.samples - 3)))


def samples_of(records: Iterable[RequestRecord]) -> tuple[list[tuple[int, int, int]], str]:
    """(u, k, ns) of every request that tells them, and whose clock it is: the engine's if it tells any, else TTFT."""
    engine: list[tuple[int, int, int]] = []
    client: list[tuple[int, int, int]] = []
    for record in records:
        u, k = record.evidence.evaluated_tokens, record.verdict.cached_tokens
        if u is None or k is None or record.error is not None or record.engine is not None:
            continue
        if record.evidence.prefill_ns:
            engine.append((u, k, record.evidence.prefill_ns))
        if record.ttft_ns:
            client.append((u, k, record.ttft_ns))
    return (engine, "engine") if engine else (client, "ttft")


def fit_prefill(samples: Sequence[tuple[int, int, int]], source: str) -> PrefillModel | None:
    """Fit the model to (u tokens, k tokens, ns), by non-negative least squares on relative errors.

    Twice: the second time, samples far off the first fit weigh less. Prompts of about one length cannot tell what a
    request costs besides its tokens: all of it is then the tokens'. `None` for fewer than `MIN_SAMPLES` requests, or
    if all are of one length, which tells no rate.
    """
    if len(samples) < MIN_SAMPLES or len({u for u, _, _ in samples}) < 2:
        return None
    u, k, ns = (np.array(column, dtype=np.float64) for column in zip(*samples, strict=True))
    features = np.column_stack((np.ones_like(u), u, u * (u / 2 + k)))
    if u.max() < _TELLS_CONSTANT * u.min():
        features[:, 0] = 0.0
    weights = 1 / np.maximum(ns, 1.0)
    constants = _nnls(features, ns, weights)
    residuals = (ns - features @ constants) * weights
    spread = 1.4826 * float(np.median(np.abs(residuals))) or 1e-12
    weights = weights / np.maximum(1.0, np.abs(residuals) / (_OUTLIER * spread))
    constants = _nnls(features, ns, weights)
    if constants[1] <= 0 and constants[2] <= 0:
        return None
    covariance = _covariance(features, ns, weights, constants)
    a, b, c = (float(value) for value in constants)
    return PrefillModel(a, b, c, covariance, len(samples), source)


def _nnls(features: Floats, ns: Floats, weights: Floats) -> Floats:
    scale = np.abs(features * weights[:, None]).max(axis=0)
    scale[scale == 0] = 1.0
    solution, _ = optimize.nnls(features * weights[:, None] / scale, ns * weights)
    found: Floats = solution / scale
    return found


def _covariance(
    features: Floats, ns: Floats, weights: Floats, constants: Floats
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Covariance of (b, c) from the weighted residuals; a constant that was held at 0 has none."""
    free = constants > 0
    free[0] = True
    weighted = features[:, free] * weights[:, None]
    residuals = (ns - features @ constants) * weights
    degrees = max(1, len(ns) - int(free.sum()))
    scale = np.abs(weighted).max(axis=0)
    scale[scale == 0] = 1.0
    scaled: Floats = weighted / scale
    inverse = np.asarray(np.linalg.pinv(scaled.T @ scaled), dtype=np.float64) / np.outer(scale, scale)
    full = np.zeros((3, 3))
    full[np.ix_(free, free)] = inverse * float(residuals @ residuals) / degrees
    return (float(full[1, 1]), float(full[1, 2])), (float(full[2, 1]), float(full[2, 2]))
