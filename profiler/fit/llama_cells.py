"""How many cells llama.cpp's caches have. Arithmetic of `llama-context.cpp` and `llama-kv-cache-iswa.cpp` alone."""

from __future__ import annotations

import msgspec

from profiler.fit.settings import LlamaSettings

PAD_TOKENS = 256


class Cells(msgspec.Struct, frozen=True):
    """Cells of one stream, and the streams; `batch` and `ubatch` are those in force."""

    full: int
    streams: int
    batch: int
    ubatch: int
    arithmetic: str


def cells(settings: LlamaSettings, trained_tokens: int | None) -> Cells | None:
    """The cells of layers that see everything; `None` where neither the settings nor the model say a context.

    A unified cache is one stream of the whole context, else each slot has its own of an equal part, each rounded up to
    256 (`llama_context::llama_context`).
    """
    context = settings.context_tokens or trained_tokens
    if not context:
        return None
    slots = max(settings.slots, 1)
    batch = min(context, settings.batch_tokens)
    ubatch = min(batch, settings.ubatch_tokens or settings.batch_tokens)
    whole = padded(context)
    if settings.unified:
        return Cells(whole, 1, batch, ubatch, f"{context} tokens up to 256: {whole} cells, shared by {slots} slots")
    each = padded(whole // slots)
    return Cells(each, slots, batch, ubatch, f"{context} tokens for {slots} slots: {each} cells each, up to 256")


def window_cells(of: Cells, window_tokens: int, settings: LlamaSettings) -> int:
    """The cells of layers with a window: it and one micro-batch, up to 256 (`llama_kv_cache_iswa`)."""
    if settings.whole_windows:
        return of.full
    windows = window_tokens * (max(settings.slots, 1) if settings.unified else 1)
    return padded(min(of.full, windows + of.ubatch))


def padded(tokens: int) -> int:
    """Rounded up to 256."""
    return -(-tokens // PAD_TOKENS) * PAD_TOKENS
