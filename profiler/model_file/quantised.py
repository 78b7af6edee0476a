"""The matrices of an MLX folder: packed words, scales and biases put together, bits and group from their shapes.

`nn.quantize` stores `columns × bits / 32` words and `columns / group` scales for each row, so the shapes give
bits × group, and with the columns both. The columns are known for matrices that read the model's width or another
matrix's rows; elsewhere the config decides among what the shapes allow. What `config.json` says against the shapes is
not believed.
"""

from __future__ import annotations

import math
from typing import Any, Final, cast

import msgspec

from backends.base import JsonObject
from backends.safetensors_header import StoredTensor

_AFFINE: Final = tuple((bits, group) for group in (64, 32, 128) for bits in (4, 8, 6, 5, 3, 2))
_FLOATING: Final = {64: ("nvfp4", 4, 16), 128: ("mxfp4", 4, 32), 256: ("mxfp8", 8, 32)}
"""By bits × group; their scales are single bytes and they have no biases (mlx.core.quantize)."""
_READS_WIDTH: Final = frozenset({
    "q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj", "embed_tokens", "lm_head",
    "w1", "w3", "in_proj", "q_a_proj", "kv_a_proj_with_mqa", "gate", "router", "wte", "in_proj_qkvz", "in_proj_ba",
})  # fmt: skip
_READS_ROWS_OF: Final = {"down_proj": "up_proj", "w2": "w3", "o_proj": "q_proj", "out_proj": "q_proj"}


class Weight(msgspec.Struct, frozen=True):
    """A matrix or vector without the `.weight` of its name; `rows` counts its outputs (of one expert, if stacked)."""

    name: str
    type: str
    parameters: int
    bytes: int
    rows: int
    quantised: bool = False


def matrices_of(
    stored: dict[str, StoredTensor], config: JsonObject, told: JsonObject
) -> tuple[list[Weight], list[str]]:
    """All weights by name, and what is doubtful of how they are quantised; `told` is the config of the text model."""
    said = said_of(config.get("quantization") or config.get("quantization_config"))
    width = told.get("hidden_size")
    weights: list[Weight] = []
    wrong: list[str] = []
    guessed: list[str] = []
    for name, tensor in sorted(stored.items()):
        owner, _, part = name.rpartition(".")
        scales = stored.get(f"{owner}.scales")
        if scales is not None and part in ("scales", "biases") and f"{owner}.weight" in stored:
            continue
        if scales is None or part != "weight" or tensor.dtype != "U32" or not _fits(tensor, scales):
            rows = tensor.shape[-2] if len(tensor.shape) > 1 else tensor.elements
            weights.append(
                Weight(owner if part == "weight" else name, tensor.dtype, tensor.elements, tensor.size_bytes, rows)
            )
            continue
        own = said_of(said.get(owner)) or said
        biases = stored.get(f"{owner}.biases")
        words, groups = tensor.shape[-1], scales.shape[-1]
        columns = _columns(owner, stored, width if isinstance(width, int) else None)
        mode, bits, group, sure = _reading(words, groups, scales.dtype == "U8" and biases is None, columns, own)
        if not sure:
            guessed.append(owner)
        if "bits" in own and (own["bits"], own.get("group_size") or group) != (bits, group):
            wrong.append(f"{owner} ({own.get('bits')}-bit g{own.get('group_size')}, stored {bits}-bit g{group})")
        kind = f"{mode} {bits}-bit g{group}" if mode == "affine" else mode
        size = tensor.size_bytes + scales.size_bytes + (biases.size_bytes if biases else 0)
        rows = tensor.shape[-2] if len(tensor.shape) > 1 else 1
        weights.append(Weight(owner, kind, tensor.elements * 32 // bits, size, rows, quantised=True))
    notes = [f"config.json is wrong about {len(wrong)} matrices: {wrong[0]}"] if wrong else []
    if guessed:
        notes.append(f"the shapes of {len(guessed)} matrices allow several bits: {guessed[0]}")
    return weights, notes


def said_of(value: Any) -> JsonObject:
    """A JSON object, or an empty one for anything else."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _fits(packed: StoredTensor, scales: StoredTensor) -> bool:
    shapes = packed.shape, scales.shape
    return all(shape and math.prod(shape) for shape in shapes) and shapes[0][:-1] == shapes[1][:-1]


def _columns(owner: str, stored: dict[str, StoredTensor], width: int | None) -> int | None:
    """How many numbers a row of this matrix holds, where the model's build says it."""
    place, _, name = owner.rpartition(".")
    if name in _READS_WIDTH:
        return width
    source = stored.get(f"{place}.{_READS_ROWS_OF.get(name, '')}.weight")
    if source is None or len(source.shape) < 2 or (name in ("o_proj", "out_proj") and width is None):
        return None
    return source.shape[-2]


def _reading(
    words: int, groups: int, floating: bool, columns: int | None, said: JsonObject
) -> tuple[str, int, int, bool]:
    """Mode, bits, group, and whether the shapes leave no other reading."""
    if floating:
        product = words * 32 // groups
        mode, bits, group = _FLOATING.get(product, ("floating", 4, max(product // 4, 1)))
        return mode, bits, group, product in _FLOATING
    allowed = [(bits, group) for bits, group in _AFFINE if words * 32 == groups * group * bits]
    exact = [pair for pair in allowed if pair[1] * groups == columns]
    if exact or len(allowed) == 1:
        return ("affine", *(exact or allowed)[0], True)
    claimed = (said.get("bits"), said.get("group_size", 64))
    for pair in allowed:
        if pair == claimed:
            return ("affine", *pair, True)
    if allowed:
        return ("affine", *allowed[0], False)
    return "affine", 4, max(words * 8 // groups, 1), False
