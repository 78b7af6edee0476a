"""What a planning worker and its parent say to each other, beside `frames`: plans and sizes, without a model in memory.

Values only; nothing here starts a process or knows a library.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class PlanSettings(msgspec.Struct, frozen=True):
    """Settings of a load in llama.cpp's own terms, every default resolved.

    `context_tokens` is the whole context, of all sequences together; 0 is the model's own. `gpu_layers` -1 is all.
    `most_outputs` is the number of logits rows that one batch may give, 0 for one for each token: a device allocates
    them all, but a processor holds only what is written, and that is the last token's (0 is then planned as 1).
    """

    context_tokens: int
    sequences: int
    kv: str
    batch: int
    ubatch: int
    flash_attn: Literal["auto", "on", "off"]
    swa_full: bool
    kv_unified: bool
    gpu_layers: int
    most_outputs: int


class Plan(msgspec.Struct, frozen=True, tag=True):
    """Ask for `Planned`: the log of a load of this file that allocates nothing.

    `breakdown` asks for the sizes by memory too, which come from a part of the library that may change.
    """

    model: str
    settings: PlanSettings
    breakdown: bool = True


class Planned(msgspec.Struct, frozen=True, tag=True):
    """The log."""

    log: str


class AskTypeSizes(msgspec.Struct, frozen=True, tag=True):
    """Ask for `TypeSizes`: what this file's tensors would take in each type."""

    model: str


class TypeSizes(msgspec.Struct, frozen=True, tag=True):
    """Bytes of all tensors by the label of the type."""

    tensor_bytes: dict[str, int]
