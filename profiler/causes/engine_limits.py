"""Causes that lie in what a kind of cache, or of request, can do at all. Pure."""

from __future__ import annotations

import re
from typing import Final

from profiler.causes.base import Case, Cause, Proof
from profiler.causes.engine_evidence import cause_of, log_proof, logged, parameters, prompt_tokens, setting
from profiler.verdict import floor_tokens

__all__ = ["block_granularity", "checkpoint_too_far", "context_full", "not_trimmable", "sequential_path"]

_RESTORED: Final = re.compile(r"restored context checkpoint .*?n_tokens = (\d+)")
_WHOLE_OR_NOTHING: Final = (
    "forcing full prompt re-processing",
    "partial kv removal not supported",
    "cannot be cut back",
    "Cache is not trimmable",
    "Failed to remove tokens from cache",
)


def checkpoint_too_far(case: Case) -> Cause | None:
    """E6: the nearest checkpoint lies before the end of what is shared."""
    cached = case.step.record.verdict.cached_tokens or 0
    for line in case.step.record.evidence.log:
        found = _RESTORED.search(line)
        if found is not None:
            text = (
                "A cache of this kind can only go back to a state that was saved. The last one that this prompt could "
                f"use is a checkpoint at {found[1]} tokens."
            )
            return cause_of("E6", "observed", text, log_proof(line))
    kind = case.facts.cache_kind
    if kind in ("sliding_window", "recurrent") and cached > floor_tokens(prompt_tokens(case)):
        said = kind.replace("_", " ")
        text = f"A {said} cache can only go back to a state that was saved; the nearest holds {cached} tokens."
        return cause_of("E6", "inferred", text, Proof("facts", f"cache kind: {said}"))
    return None


def not_trimmable(case: Case) -> Cause | None:
    """E5: nothing to go back to."""
    line = logged(case.step, *_WHOLE_OR_NOTHING)
    if line is not None:
        text = "A cache of this kind cannot be cut back, and no saved state was there: everything was evaluated again."
        return cause_of("E5", "observed", text, log_proof(line))
    kind, cached = case.facts.cache_kind, case.step.record.verdict.cached_tokens
    if kind in ("sliding_window", "recurrent") and cached is not None and cached <= floor_tokens(prompt_tokens(case)):
        said = kind.replace("_", " ")
        text = f"A {said} cache cannot be cut back, and no saved state was there: everything was evaluated again."
        return cause_of("E5", "inferred", text, Proof("facts", f"cache kind: {said}"))
    return None


def sequential_path(case: Case) -> Cause | None:
    """E14: what mlx_lm.server does for requests with a seed, or with a quantised KV cache.

    It keeps the last state of a prompt alone, which a cache that can be cut back does not mind.
    """
    if case.facts.engine != "mlx-server" or case.facts.cache_kind == "full":
        return None
    if parameters(case.step).get("seed") is not None:
        text = "Requests with a seed take a path on which the server keeps only the last state of a prompt."
        return cause_of("E14", "inferred", text, Proof("request", "seed", "parameters.seed"))
    if bits := setting(case, "kv_bits"):
        text = "With a quantised KV cache the server keeps only the last state of a prompt."
        return cause_of("E14", "inferred", text, Proof("facts", f"kv_bits={bits}"))
    return None


def block_granularity(case: Case) -> Cause | None:
    """E15: whole blocks only. A window or a recurrent state has no blocks: its step is that of its checkpoints."""
    step, cached = case.facts.granularity_tokens, case.step.record.verdict.cached_tokens
    if step is None or step <= 1 or cached is None or cached % step or case.facts.cache_kind not in (None, "full"):
        return None
    text = f"Only whole blocks of {step} tokens are reused; the rest of the last one is evaluated again."
    return cause_of("E15", "inferred", text, Proof("count", f"{cached} = {cached // step} × {step}"))


def context_full(case: Case) -> Cause | None:
    """E18: LM Studio at 100 % occupancy."""
    context = case.facts.context_tokens
    if context is None or case.facts.engine != "lmstudio" or prompt_tokens(case) < 0.99 * context:
        return None
    text = "The context is full, and this server then evaluates all of it again."
    return cause_of("E18", "inferred", text, Proof("count", f"{prompt_tokens(case)} of {context} tokens"))
