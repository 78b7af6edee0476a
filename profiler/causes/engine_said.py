"""Causes that the engine, the request or the launch settings name themselves. Pure."""

from __future__ import annotations

import re
from typing import Final

from profiler.causes.base import Case, Cause, Proof, Step
from profiler.causes.engine_evidence import (
    OFF,
    cause_of,
    log_proof,
    logged,
    logged_since,
    name_of,
    order_proof,
    other_proofs,
    parameters,
    setting,
)
from profiler.causes.engine_log import choice, saved_lengths
from profiler.causes.engine_places import SLACK_TOKENS, one_place

__all__ = [
    "adapter_changed",
    "caching_off",
    "cancelled",
    "context_shifted",
    "kv_purged",
    "reloaded",
    "restore_failed",
    "store_full",
    "vision_path",
]

_PURGED: Final = re.compile(r"purging slot (\d+)")
_FULL: Final = ("removing oldest entry", "exceeds cache size limit")


def reloaded(case: Case) -> Cause | None:
    """E8: the model was loaded for this request, or for one since the best match."""
    for step in (case.step, *reversed(case.between)):
        line = logged(step, "the model was loaded for this request")
        if step.record.evidence.reloaded or line is not None:
            when = "for this request" if step is case.step else f"for {name_of(step)}"
            proof = log_proof(line) if line else Proof("facts", f"the engine says so of request {_id(step)}")
            return cause_of("E8", "observed", f"The model was loaded anew {when}, with an empty cache.", proof)
    return None


def caching_off(case: Case) -> Cause | None:
    """E13: the request or the launch switches caching off."""
    if parameters(case.step).get("cache_prompt") is False:
        proof = Proof("request", "cache_prompt: false", "parameters.cache_prompt")
        return cause_of("E13", "observed", "The request itself switches prompt caching off.", proof)
    for name in ("cache_prompt", "prefix_caching", "enable_prefix_caching"):
        if (said := setting(case, name)) in OFF:
            proof = Proof("facts", f"{name}={said}")
            return cause_of("E13", "observed", "The engine was started with prompt caching switched off.", proof)
    return None


def adapter_changed(case: Case) -> Cause | None:
    """E9: another adapter was set."""
    line = logged(case.step, "clearing cache for lora change")
    text = "This request sets other adapters (LoRA) than the slot had, which empties the slot."
    return None if line is None else cause_of("E9", "observed", text, log_proof(line))


def context_shifted(case: Case) -> Cause | None:
    """E10: the context overflowed while an earlier reply was generated.

    Shifting happens during generation alone, so this request's own lines do not explain what it found. That a reply
    was cut at the end of the context (`truncated = 1`) moves nothing.
    """
    for step in filter(None, (case.best, *case.between)):
        line = logged(step, "slot context shift", "context limit hit - shifting")
        if line is None or not _same_place(case, step):
            continue
        text = (
            f"While {name_of(step)} was answered, the context overflowed and the engine dropped a part from its "
            "middle: what it holds since is no longer the history."
        )
        return cause_of("E10", "observed", text, log_proof(line))
    return None


def kv_purged(case: Case) -> Cause | None:
    """E17: the KV cache that all slots share ran out of room."""
    held_by = case.best.record.evidence.slot if case.best is not None else None
    for step in (*case.between, case.step):
        for line in step.record.evidence.log:
            found = _PURGED.search(line)
            if found is None or (held_by is not None and int(found[1]) != held_by):
                continue
            text = (
                f"The KV cache that all slots share had no room for {name_of(step)}; the server emptied slot "
                f"{found[1]}, which held this conversation."
            )
            return cause_of("E17", "observed" if held_by is not None else "inferred", text, log_proof(line))
    return None


def store_full(case: Case) -> Cause | None:
    """E7: the store of earlier prompts was full, or too small for this one.

    Only where the server looked for the prompt in its store and did not find it.
    """
    if case.facts.engine == "mlx-server":
        return _too_many(case)
    line, chosen, best = logged_since(case, *_FULL), choice(case.step), case.best
    if line is None or chosen.restored is not None or (chosen.how is not None and not chosen.searched):
        return None
    shared = case.step.record.verdict.reusable_tokens or 0
    if any(stored.shared_tokens >= shared - SLACK_TOKENS for stored in chosen.stored):
        return None
    length = len(best.rendered.sequence) if best is not None and best.rendered is not None else None
    saved = [n for step in (*case.between, case.step) for n in saved_lengths(step)]
    known = length is not None and any(abs(n - length) <= SLACK_TOKENS for n in saved)
    if saved and not known:
        return None
    text = (
        "The server keeps the prompts of other conversations in main memory. That store was too small for this one, "
        "and it was gone when it was looked for."
    )
    return cause_of("E7", "observed" if known else "inferred", text, log_proof(line), *other_proofs(case))


_MLX_ENTRIES: Final = 10
"""How many prompts mlx_lm.server keeps unless told otherwise (`--prompt-cache-size`)."""


def _too_many(case: Case) -> Cause | None:
    given = setting(case, "prompt_cache_size")
    size = int(given) if given.isdigit() else _MLX_ENTRIES
    if len(case.between) < size:
        return None
    text = f"The server keeps {size} prompts, and {len(case.between)} requests came since."
    return cause_of("E7", "inferred", text, *other_proofs(case))


def restore_failed(case: Case) -> Cause | None:
    """E16: a stored prompt could not be restored."""
    marks = ("failed to load prompt from cache", "failed to restore cache", "failed to restore state")
    line = logged(case.step, *marks)
    text = "The engine found a stored prompt for this request and could not restore it."
    return None if line is None else cause_of("E16", "observed", text, log_proof(line))


def cancelled(case: Case) -> Cause | None:
    """E12: the request before ended during its prefill."""
    before = case.best
    if before is None or before.record.error is None or before.record.stamps.first_delta_ns is not None:
        return None
    text = f"{name_of(before)} was cancelled or failed before its prompt was evaluated: the rest was never cached."
    proof = Proof("order", f"request {_id(before)} ended with {before.record.error.kind} before any output")
    return cause_of("E12", "inferred", text, proof, order_proof(before))


def vision_path(case: Case) -> Cause | None:
    """E11: an image projector switches reuse off."""
    marks = ("is not supported by multimodal", "loaded multimodal model")
    line = next((text for text in case.load_log.splitlines() if any(mark in text for mark in marks)), None)
    if line is None or not _has_image(case.step):
        return None
    text = "The request holds an image: on that path the engine keeps no checkpoints behind it and moves nothing."
    return cause_of("E11", "inferred", text, log_proof(line.strip()))


def _has_image(step: Step) -> bool:
    return any(
        isinstance(part, dict) and str(part.get("type", "")).endswith(("image", "image_url"))  # pyright: ignore
        for message in step.request.get("messages") or ()
        if isinstance(content := message.get("content"), list)
        for part in content  # pyright: ignore
    )


def _same_place(case: Case, step: Step) -> bool:
    """Whether a request ran where the best match lay, as far as slots are known."""
    best = case.best
    if best is None or step is best or one_place(case):
        return True
    a, b = best.record.evidence.slot, step.record.evidence.slot
    return a is None or b is None or a == b


def _id(step: Step) -> int:
    return step.record.request_id
