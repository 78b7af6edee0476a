"""Bytes that llama.cpp's types of KV cache take. A table and one product."""

from __future__ import annotations

from typing import Final

_BLOCKS: Final = {
    "f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "q8_0": (32, 34), "q4_0": (32, 18), "q4_1": (32, 20),
    "iq4_nl": (32, 18), "q5_0": (32, 22), "q5_1": (32, 24),
}  # fmt: skip
"""Numbers a block and bytes a block (ggml-common.h), of the types that `--cache-type-k` takes."""

CACHE_TYPES: Final = tuple(_BLOCKS)


def row_bytes(values: int, cache_type: str) -> int | None:
    """Bytes of a row of so many numbers; `None` for a type that is not known, or whose blocks the row does not fill."""
    block = _BLOCKS.get(cache_type)
    if block is None or values % block[0]:
        return None
    return values // block[0] * block[1]
