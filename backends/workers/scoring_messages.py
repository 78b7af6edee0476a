"""What a scoring worker and its parent say to each other, beside `frames`: tokens in, the place of their logits out.

Values only. The logits themselves never travel on the pipe: they lie in memory that both have mapped (`exchange`).
"""

from __future__ import annotations

import msgspec

from backends.base import CacheKind


class ScorerReady(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded: what only the engine knows of it. `first_token` is wanted before every text.

    `batch_tokens` is how many tokens the engine takes at once.
    """

    build: str
    vocabulary: int
    first_token: int | None
    cache_kind: CacheKind
    batch_tokens: int
    settings: dict[str, str] = {}


class Tokenize(msgspec.Struct, frozen=True, tag=True):
    """Ask for `Tokens`: those of a plain text, no special token read out of it, none added."""

    text: str


class Tokens(msgspec.Struct, frozen=True, tag=True):
    """Token ids (`pack_ids`)."""

    token_ids: bytes


class Evaluate(msgspec.Struct, frozen=True, tag=True):
    """Evaluate a piece of some chunks side by side, each a sequence of its own; answered by `Done`.

    `token_ids` are those of all pieces, one after the other, `lengths` how many each has. Every piece begins at
    position `start` of its chunk; at 0 the cache is emptied first. The logits after the last `rows` tokens of each
    piece are written as float32 from byte `at_byte` of the shared memory on, piece after piece. `context_tokens` and
    `sequences` say how much the context must hold for all steps of these chunks. `batch_tokens` is the most to
    evaluate at once, in one sequence where it is given; `None` is the engine's own way.
    """

    token_ids: bytes
    lengths: tuple[int, ...]
    start: int
    rows: int
    at_byte: int
    shared_bytes: int
    context_tokens: int
    sequences: int
    batch_tokens: int | None = None
