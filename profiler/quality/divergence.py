"""Logits of a reference and of a candidate to a value for each token. Pure arithmetic, in float64.

What llama-perplexity computes (`tools/perplexity/perplexity.cpp`: `log_softmax`, `kl_divergence`), without its two
economies: it keeps the reference in 16 bits over the 16 nats below its best token, and leaves out what lies lower, so
that its divergence has a floor and can be negative. Here the sum is over the whole vocabulary.

Any constant may be added to a row of logits: log-probabilities are logits too. Rows go through in blocks that fit a
processor's cache, so that memory is bounded by the arrays that are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from profiler.quality.base import ChunkScores
from profiler.quality.errors import QualityError

Logits = NDArray[np.float32]

_BLOCK_VALUES = 1 << 16


def score(reference: Logits, candidate: Logits, targets: NDArray[np.integer]) -> ChunkScores:
    """The scores of (tokens, vocabulary) logits; `targets` are the (tokens,) token ids that follow in the text.

    Raises:
        QualityError: the vocabularies differ in size, or a model gave what is no number.
    """
    if reference.shape != candidate.shape:
        raise QualityError(
            f"the reference has {reference.shape[1]} logits a token, the candidate {candidate.shape[1]}",
            hint="compare quants of one model: their tokens must be the same",
        )
    rows = max(1, _BLOCK_VALUES // reference.shape[1])
    blocks = [
        _block(reference[at : at + rows], candidate[at : at + rows], targets[at : at + rows])
        for at in range(0, len(targets), rows)
    ]
    return joined(blocks)


def score_blocks(reference: Iterable[Logits], candidate: Iterable[Logits], targets: NDArray[np.integer]) -> ChunkScores:
    """The same for logits that come as blocks of rows, cut in any way on either side. Rows after the last target are
    not looked at.

    Raises:
        QualityError: as `score`; or a side has fewer rows than there are targets.
    """
    parts: list[ChunkScores] = []
    at = 0
    for p, q in _aligned(reference, candidate):
        rows = min(len(p), len(targets) - at)
        parts.append(score(p[:rows], q[:rows], targets[at : at + rows]))
        at += rows
        if at == len(targets):
            return joined(parts)
    raise QualityError(f"logits of {at} tokens where {len(targets)} are scored", hint="report this")


def joined(parts: Sequence[ChunkScores]) -> ChunkScores:
    """The scores of several pieces as one, in order."""
    return ChunkScores(
        nll=np.concatenate([part.nll for part in parts]),
        reference_nll=np.concatenate([part.reference_nll for part in parts]),
        kld=np.concatenate([part.kld for part in parts]),
        delta_p=np.concatenate([part.delta_p for part in parts]),
        same_top=np.concatenate([part.same_top for part in parts]),
    )


def _block(reference: Logits, candidate: Logits, targets: NDArray[np.integer]) -> ChunkScores:
    p, p_exp, p_sum = _shifted(reference)
    q, _, q_sum = _shifted(candidate)
    p_log, q_log = np.log(p_sum), np.log(q_sum)
    with np.errstate(invalid="ignore"):
        kld = np.einsum("ij,ij->i", p_exp, p - q) / p_sum - p_log + q_log
    for row in np.flatnonzero(~np.isfinite(kld)):
        # A token of probability 0 (a logit of −∞) has no part in the sum, whatever the candidate says of it.
        possible = p_exp[row] > 0
        part = p_exp[row, possible] @ (p[row, possible] - q[row, possible])
        kld[row] = part / p_sum[row] - p_log[row] + q_log[row]
    if np.isnan(kld).any():
        raise QualityError("a model gave logits that are no numbers (NaN)", hint="this file or this build is damaged")
    at = np.arange(len(targets))
    nll = q_log - q[at, targets]
    reference_nll = p_log - p[at, targets]
    return ChunkScores(
        nll=nll,
        reference_nll=reference_nll,
        kld=kld,
        delta_p=np.exp(-nll) - np.exp(-reference_nll),
        same_top=reference.argmax(axis=1) == candidate.argmax(axis=1),
    )


Wide = NDArray[np.float64]


def _shifted(logits: Logits) -> tuple[Wide, Wide, Wide]:
    """Logits below their highest, their exponentials, and the sum of these."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    exponentials = np.exp(wide)
    return wide, exponentials, exponentials.sum(axis=1)


def _aligned(first: Iterable[Logits], second: Iterable[Logits]) -> Iterator[tuple[Logits, Logits]]:
    """Two streams of rows in blocks of the same rows, each as long as both allow."""
    others = iter(second)
    other: Logits | None = next(others, None)
    for block in first:
        at = 0
        while at < len(block):
            while other is not None and not len(other):
                other = next(others, None)
            if other is None:
                return
            rows = min(len(block) - at, len(other))
            yield block[at : at + rows], other[:rows]
            at += rows
            other = other[rows:]
