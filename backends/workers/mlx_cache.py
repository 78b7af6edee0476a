"""One live prompt cache of mlx-lm: what it holds, how it is cut back, and what kind it is. Evaluates nothing.

mlx-lm itself keeps no record of the tokens in a cache; it is kept here, and checked against the layers' own offsets.
"""

from __future__ import annotations

from typing import Any

from backends.base import CacheKind
from backends.workers.mlx_library import can_trim_prompt_cache, make_prompt_cache, trim_prompt_cache

_RECURRENT = ("ArraysCache", "MambaCache")
_WINDOWED = ("RotatingKVCache", "ChunkedKVCache")


class LiveCache:
    """The cache of one sequence, for whatever conversation comes next."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.held: list[int] = []
        self.layers: list[Any] = make_prompt_cache(model)

    def clear(self) -> None:
        """Forget every token."""
        self.held = []
        self.layers = make_prompt_cache(self._model)

    def kind(self) -> CacheKind:
        """How this model's cache can be cut back, by the classes of its layers."""
        classes = {name for layer in self.layers for name in _class_names(layer)}
        if classes & set(_RECURRENT):
            return "recurrent"
        return "sliding_window" if classes & set(_WINDOWED) else "full"

    def keep_for(self, prompt: list[int]) -> tuple[int, tuple[str, ...]]:
        """Cut the cache back to what it shares with a prompt, or empty it where it cannot be cut back.

        Returns the tokens that it holds then, and why less if less; at least one token of the prompt is left to
        evaluate, since the next one is sampled from its logits.
        """
        matched = _shared(self.held, prompt)
        wanted = min(matched, len(prompt) - 1)
        surplus = len(self.held) - wanted
        if surplus == 0:
            return wanted, ()
        if wanted and self._cut_to(wanted):
            return wanted, ()
        self.clear()
        if not wanted:
            return 0, ()
        return 0, (f"{matched} tokens matched, but this cache cannot be cut back: all was evaluated",)

    def offset(self) -> int | None:
        """Tokens in the layers by their own count; `None` if no layer counts (purely recurrent), or they disagree."""
        counts = {found for layer in self.layers if (found := _offset(layer)) is not None}
        return counts.pop() if len(counts) == 1 else None

    def _cut_to(self, wanted: int) -> bool:
        """Whether every layer could be cut back to `wanted` tokens; if not, the cache is no longer of use."""
        if not can_trim_prompt_cache(self.layers):
            return False
        # What `trim_prompt_cache` returns is the first layer's count alone.
        trim_prompt_cache(self.layers, len(self.held) - wanted)
        del self.held[wanted:]
        return self.offset() == wanted


def _shared(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _class_names(layer: Any) -> list[str]:
    """The class of a layer's cache, or of its parts (`CacheList`)."""
    parts = getattr(layer, "caches", None)
    return [name for part in parts for name in _class_names(part)] if parts else [type(layer).__name__]


def _offset(layer: Any) -> int | None:
    parts = getattr(layer, "caches", None)
    if parts:
        return next((found for part in parts if (found := _offset(part)) is not None), None)
    found = getattr(layer, "offset", None)
    return found if isinstance(found, int) else None
