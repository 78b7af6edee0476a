"""From the scores of chunks to a candidate's quality with its uncertainty, and from two candidates to their difference.

Tokens of one chunk hang together (a hard passage is hard for all of them), so errors are taken over chunks: the spread
of the chunks' means, a t distribution with one degree less than chunks. llama-perplexity takes every token for
independent; `token_errors` gives its figures, by its formulas (`kl_divergence` in `tools/perplexity/perplexity.cpp`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from profiler.quality.base import ChunkScores, Estimate, Quality
from profiler.quality.divergence import joined

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9, 100.0)

Values = NDArray[np.float64]


class TokenErrors(msgspec.Struct, frozen=True):
    """llama-perplexity's standard errors, and its correlation of the two log-likelihoods; tokens taken for independent.

    Units as in `Quality`: perplexities as such, logarithms and divergences in nats, shares from 0 to 1.
    """

    perplexity: float
    reference_perplexity: float
    log_perplexity_ratio: float
    kld: float
    rms_delta_p: float
    same_top: float
    correlation: float | None


class Difference(msgspec.Struct, frozen=True):
    """A second candidate less a first one on the same chunks, paired. Positive `kld` and `nll`: the second is worse."""

    nll: Estimate
    kld: Estimate
    same_top: Estimate


def summarise(reference: str, chunks: Sequence[ChunkScores], *, floor: Estimate | None = None) -> Quality:
    """The quality of a candidate; `reference` names what it was compared with, `floor` is its own noise.

    Raises:
        ValueError: no chunk.
    """
    whole = joined(chunks)
    nll = mean(chunks, lambda c: c.nll)
    reference_nll = mean(chunks, lambda c: c.reference_nll)
    square = mean(chunks, lambda c: c.delta_p**2)
    return Quality(
        reference=reference,
        chunks=len(chunks),
        scored_tokens=len(whole.nll),
        perplexity=_transformed(nll, math.exp(nll.value), math.exp(nll.value)),
        reference_perplexity=_transformed(reference_nll, math.exp(reference_nll.value), math.exp(reference_nll.value)),
        log_perplexity_ratio=mean(chunks, lambda c: c.nll - c.reference_nll),
        kld=mean(chunks, lambda c: c.kld),
        kld_token_error=_error(whole.kld),
        kld_percentiles={
            f"{percent:g}": float(value)
            for percent, value in zip(PERCENTILES, np.percentile(whole.kld, PERCENTILES), strict=True)
        },
        rms_delta_p=_root(square),
        same_top=mean(chunks, lambda c: c.same_top.astype(np.float64)),
        floor=floor,
    )


def difference(first: Sequence[ChunkScores], second: Sequence[ChunkScores]) -> Difference:
    """What the second candidate does worse or better than the first, chunk by chunk.

    Raises:
        ValueError: they were not scored on the same chunks against the same reference.
    """
    pairs = list(zip(first, second, strict=True))
    if any(not np.array_equal(a.reference_nll, b.reference_nll) for a, b in pairs):
        raise ValueError("the candidates were not compared with the same reference on the same chunks")

    def paired(values: Callable[[ChunkScores], Values]) -> Estimate:
        return _clustered([values(b) - values(a) for a, b in pairs])

    return Difference(
        nll=paired(lambda c: c.nll),
        kld=paired(lambda c: c.kld),
        same_top=paired(lambda c: c.same_top.astype(np.float64)),
    )


def mean(chunks: Sequence[ChunkScores], values: Callable[[ChunkScores], Values]) -> Estimate:
    """The mean of a value over all tokens, with the standard error over chunks."""
    return _clustered([values(chunk) for chunk in chunks])


def interval(estimate: Estimate, level: float = 0.95) -> tuple[float, float] | None:
    """The confidence interval of an estimate by Student's t; `None` for fewer than two chunks."""
    if estimate.standard_error is None:
        return None
    half = float(stats.t.ppf(0.5 + level / 2, estimate.n_chunks - 1)) * estimate.standard_error
    return estimate.value - half, estimate.value + half


def within_floor(quality: Quality) -> bool | None:
    """Whether the candidate's divergence is at most twice its own noise, so that it says nothing about the quant.

    `None` where the noise was not measured.
    """
    return None if quality.floor is None else quality.kld.value <= 2 * quality.floor.value


def token_errors(chunks: Sequence[ChunkScores]) -> TokenErrors | None:
    """llama-perplexity's standard errors; `None` for fewer than eleven tokens, for which it gives none."""
    whole = joined(chunks)
    count = len(whole.nll)
    if count <= 10:
        return None
    nll, reference = _spread(whole.nll), _spread(whole.reference_nll)
    product = float(np.mean(whole.nll * whole.reference_nll) - whole.nll.mean() * whole.reference_nll.mean())
    covariance = product / (count - 1)
    square = whole.delta_p**2
    rms = math.sqrt(float(square.mean()))
    top = float(whole.same_top.mean())
    return TokenErrors(
        perplexity=math.exp(float(whole.nll.mean())) * nll,
        reference_perplexity=math.exp(float(whole.reference_nll.mean())) * reference,
        log_perplexity_ratio=math.sqrt(max(0.0, nll**2 + reference**2 - 2 * covariance)),
        kld=_spread(whole.kld),
        rms_delta_p=0.5 / rms * _spread(square) if rms else 0.0,
        same_top=math.sqrt(top * (1 - top) / (count - 1)),
        correlation=covariance / (nll * reference) if nll and reference else None,
    )


def _clustered(groups: Sequence[Values]) -> Estimate:
    """The mean over all values, with the standard error of a mean of groups that may differ in size."""
    sizes = np.array([len(group) for group in groups], np.float64)
    means = np.array([group.mean() for group in groups])
    shares = sizes / sizes.sum()
    value = float(shares @ means)
    count = len(groups)
    if count < 2:
        return Estimate(value, None, count)
    variance = count / (count - 1) * float(np.sum((shares * (means - value)) ** 2))
    return Estimate(value, math.sqrt(variance), count)


def _transformed(estimate: Estimate, value: float, slope: float) -> Estimate:
    """A function of an estimate, by its slope there (the delta method)."""
    error = estimate.standard_error
    return Estimate(value, None if error is None else slope * error, estimate.n_chunks)


def _root(square: Estimate) -> Estimate:
    root = math.sqrt(square.value)
    return _transformed(square, root, 0.5 / root if root else 0.0)


def _spread(values: Values) -> float:
    """`mean_and_uncertainty` of llama-perplexity: the error of a mean of independent values."""
    variance = float(np.mean(values**2)) - float(values.mean()) ** 2
    return math.sqrt(max(0.0, variance) / (len(values) - 1))


def _error(values: Values) -> float | None:
    return _spread(values) if len(values) > 10 else None
