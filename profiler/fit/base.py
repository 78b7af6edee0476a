"""Whether a model fits this machine: what it would take, what there is, and the answer. Values only."""

from __future__ import annotations

from typing import Literal

import msgspec

Basis = Literal["engine plan", "formula", "table"]
"""How a figure was found, the surest first: the engine's own plan, our arithmetic, a table of usual values."""
What = Literal["weights", "kv_cache", "recurrent_state", "compute", "prompt_cache", "checkpoints", "runtime"]
Place = Literal["host", "device"]
Answer = Literal["fits", "fits_with_smaller_kv", "fits_with_less_context", "spills", "does_not_fit", "unknown"]


class Part(msgspec.Struct, frozen=True):
    """One thing that takes memory. `reclaimable` bytes are pages of the model file, which the system may drop and read
    again.

    `at_most` marks what grows with use up to this (a prompt cache). `arithmetic` shows the figures it was made of, in
    words. `idle` marks reclaimable pages that are not read again after loading (a copy of them is used instead).
    """

    what: What
    bytes: int
    place: Place
    basis: Basis
    arithmetic: str
    reclaimable: bool = False
    at_most: bool = False
    idle: bool = False


class MemoryPrediction(msgspec.Struct, frozen=True):
    """What a target would take, part by part; `None` sums are not made: a part that is not known is in `missing`, in
    words.
    """

    parts: tuple[Part, ...]
    missing: tuple[str, ...] = ()

    @property
    def must_have_bytes(self) -> int:
        """What the host must really have after loading: not reclaimable, without what only may grow."""
        return sum(p.bytes for p in self.parts if p.place == "host" and not p.reclaimable and not p.at_most)

    @property
    def file_bytes(self) -> int:
        """What the host keeps of the file while there is room."""
        return sum(p.bytes for p in self.parts if p.place == "host" and p.reclaimable)

    @property
    def device_bytes(self) -> int:
        """What lies in the memory of a GPU."""
        return sum(p.bytes for p in self.parts if p.place == "device" and not p.at_most)

    @property
    def growth_bytes(self) -> int:
        """What it may grow by in use (host)."""
        return sum(p.bytes for p in self.parts if p.at_most)


class Allowance(msgspec.Struct, frozen=True):
    """What a machine can really give, bytes; `device_bytes` is `None` without a GPU, `unified` where both are the same
    memory.
    """

    host_bytes: int
    device_bytes: int | None
    source: str
    unified: bool = False


class FitVerdict(msgspec.Struct, frozen=True):
    """The answer, and with which settings: `kv` where a smaller cache type is needed, `context_tokens` where less
    context is.
    """

    answer: Answer
    text: str
    kv: str | None = None
    context_tokens: int | None = None
