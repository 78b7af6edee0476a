"""How far a quant is from its reference: per token, and summed up with its uncertainty. Values only.

Definitions are those of llama-perplexity (`tools/perplexity/perplexity.cpp`): p is the reference's distribution after a
token, q the candidate's, t the token that follows in the text.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray


class ChunkScores(msgspec.Struct, frozen=True):
    """One chunk, a value for each scored token: arrays of (scored tokens,) float64 or bool.

    `nll` = −ln q(t), nats; `reference_nll` = −ln p(t); `kld` = Σ p (ln p − ln q), nats; `delta_p` = q(t) − p(t);
    `same_top`: argmax p = argmax q.
    """

    nll: NDArray[np.float64]
    reference_nll: NDArray[np.float64]
    kld: NDArray[np.float64]
    delta_p: NDArray[np.float64]
    same_top: NDArray[np.bool_]


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its standard error over chunks, which hang together within; `None` for fewer than two chunks."""

    value: float
    standard_error: float | None
    n_chunks: int


class Quality(msgspec.Struct, frozen=True):
    """A candidate against its reference on one text. `floor` is the mean KLD of the candidate against itself when it is
    evaluated in another way: differences below twice that are the engine's, not the quant's.

    `kld_percentiles` by percent: 50, 90, 95, 99, 99.9, 100. `rms_delta_p` and `same_top` are shares from 0 to 1.
    `token_error` fields are llama-perplexity's standard errors, which take tokens for independent.
    """

    reference: str
    chunks: int
    scored_tokens: int
    perplexity: Estimate
    reference_perplexity: Estimate
    log_perplexity_ratio: Estimate
    kld: Estimate
    kld_token_error: float | None
    kld_percentiles: dict[str, float]
    rms_delta_p: Estimate
    same_top: Estimate
    floor: Estimate | None = None
