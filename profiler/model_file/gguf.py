"""A GGUF model as a `ModelFile`: one file or all parts of a split one. Reads headers only, never weights."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec

from backends.base import ModelFileError
from backends.gguf_header import GgufHeader, LongArray, Tensor
from profiler.model_file.base import Layer, ModelFile, NotToldError
from profiler.model_file.labels import doubts
from profiler.model_file.llama_layers import Hparams, hparams, layers_of
from profiler.model_file.shares import type_shares
from profiler.model_file.split import read_parts

_EMBEDDING = "token_embd.weight"
_OUTPUT = "output.weight"
_ONE_ROW = {_EMBEDDING, "per_layer_token_embd.weight", "position_embd.weight", "token_types.weight"}
"""Tables of which a token reads one row. llama.cpp leaves the first two in the memory of the host."""
_BLOCK = re.compile(r"^blk\.(\d+)\.")
_EXPERTS = re.compile(r"_exps\.")
_OTHER_EXPERTS = re.compile(r"_chexps\.")
_NO_MODEL = {"clip": "an image encoder (mmproj)", "imatrix": "an importance matrix", "adapter": "a LoRA adapter"}


class _Sized(msgspec.Struct, frozen=True):
    """A tensor with its bytes, and those of it and its weights that decoding one token reads."""

    tensor: Tensor
    type: str
    bytes: int
    layer: int | None


def read_gguf(path: Path) -> ModelFile:
    """Read the headers of the model that `path` is, or is a part of.

    Raises:
        ModelFileError: a file or part is missing, is no model, is damaged or is cut short.
    """
    files, headers = read_parts(path)
    first = headers[0]
    use = str(first.values.get("general.type"))
    what = _NO_MODEL.get(first.architecture or "") or _NO_MODEL.get(use)
    if what:
        raise ModelFileError(f"{files[0]} is {what}, not a model", hint="name the model's own .gguf file")
    sized = [row for file, header in zip(files, headers, strict=True) for row in _sized(file, header)]
    parameters = sum(row.tensor.elements for row in sized)
    if not parameters:
        raise ModelFileError(f"{files[0]} has no weights", hint="name a model file, not a vocabulary")
    given, layers, note = _layers(first)
    names = {row.tensor.name for row in sized}
    tied = _EMBEDDING in names and _OUTPUT not in names
    active = _active(sized, given, tied=tied) if given is not None and layers is not None else None
    matrices = _matrices(sized)
    notes = [note] if note else []
    notes += doubts(first.file_type, files[0].name, matrices)
    unknown = sorted({row.type for row in sized if row.tensor.type_name is None})
    if unknown:
        notes.append(f"tensors of types that are not known here ({', '.join(unknown)}): sized by their places")
    return ModelFile(
        path=files[0],
        files=files,
        container="gguf",
        architecture=first.architecture,
        name=first.name,
        label=first.file_type,
        types=type_shares((row.type, row.tensor.elements, row.bytes) for row in sized),
        tensor_bytes=sum(row.bytes for row in sized),
        parameters=parameters,
        active_bytes=active[0] if active else None,
        active_parameters=active[1] if active else None,
        layers=layers,
        context_tokens=first.context_length,
        vocabulary_tokens=_vocabulary(first, sized),
        embedding_values=_number(first, "embedding_length"),
        experts=_number(first, "expert_count") or None,
        experts_used=_experts_used(first),
        has_template=first.chat_template is not None,
        layer_bytes=_layer_bytes(sized, given.all_layers) if given is not None else None,
        embedding_bytes=sum(row.bytes for row in sized if row.tensor.name in _ONE_ROW),
        feed_forward_values=_widest(given, "feed_forward_length"),
        expert_values=_widest(given, "expert_feed_forward_length"),
        output_bytes=_output_bytes(sized, tied=tied),
        tied=tied if _EMBEDDING in names else None,
        notes=tuple(notes),
    )


def _sized(file: Path, header: GgufHeader) -> list[_Sized]:
    """Every tensor with its bytes; one of an unknown type takes what lies up to the next one."""
    places = sorted({tensor.offset_bytes for tensor in header.tensors})
    ends = dict(pairwise([*places, header.file_bytes - header.data_start_bytes]))
    rows: list[_Sized] = []
    for tensor in header.tensors:
        size = tensor.size_bytes
        if size is None:
            size = max(ends[tensor.offset_bytes] - tensor.offset_bytes, 0)
        block = _BLOCK.match(tensor.name)
        layer = int(block[1]) if block and len(block[1]) < 6 else None
        rows.append(_Sized(tensor, tensor.type_name or f"type {tensor.type_id}", size, layer))
    if len({tensor.name for tensor in header.tensors}) != len(header.tensors):
        raise ModelFileError(f"model file {file}: a tensor stands twice", hint="download or convert the model again")
    return rows


def _layers(header: GgufHeader) -> tuple[Hparams | None, tuple[Layer, ...] | None, str | None]:
    given = None
    try:
        given = hparams(header)
        return given, layers_of(given), None
    except NotToldError as error:
        return given, None, f"the layers cannot be told: {error}"


def _active(sized: list[_Sized], given: Hparams, *, tied: bool) -> tuple[int, int] | None:
    """Bytes and parameters that decoding one token reads; `None` where the share of the experts is not told."""
    try:
        used = given.by_layer("expert_used_count", (0,) * given.all_layers)
        experts = given.number("expert_count", 0)
    except NotToldError:
        return None
    read_bytes = read_parameters = 0
    for row in sized:
        name, elements, size = row.tensor.name, row.tensor.elements, row.bytes
        if _OTHER_EXPERTS.search(name):
            return None
        if row.layer is not None and row.layer >= given.trunk_layers:
            continue  # predicts ahead: not read unless it is asked for
        over, under = 1, 1
        if name in _ONE_ROW and not (tied and name == _EMBEDDING):
            under = max(row.tensor.shape[-1], 1) if len(row.tensor.shape) > 1 else 1
        elif _EXPERTS.search(name):
            if not experts or row.layer is None:
                return None
            over, under = used[row.layer], experts
        read_bytes += size * over // under
        read_parameters += elements * over // under
    return read_bytes, read_parameters


def _matrices(sized: list[_Sized]) -> Counter[str]:
    """Parameters of the matrices of the layers, by type."""
    found: Counter[str] = Counter()
    for row in sized:
        if row.layer is not None and len(row.tensor.shape) > 1 and min(row.tensor.shape[:2]) > 8:
            found[row.type] += row.tensor.elements
    return found


def _layer_bytes(sized: list[_Sized], layers: int) -> tuple[int, ...] | None:
    sums = [0] * layers
    for row in sized:
        if row.layer is not None:
            if row.layer >= layers:
                return None
            sums[row.layer] += row.bytes
    return tuple(sums)


def _widest(given: Hparams | None, key: str) -> int | None:
    """The largest of a number that layers have; `None` where none has it."""
    try:
        return max(given.by_layer(key, (0,) * given.all_layers)) or None if given is not None else None
    except NotToldError:
        return None


def _output_bytes(sized: list[_Sized], *, tied: bool) -> int | None:
    name = _EMBEDDING if tied else _OUTPUT
    return next((row.bytes for row in sized if row.tensor.name == name), None)


def _vocabulary(header: GgufHeader, sized: list[_Sized]) -> int | None:
    tokens = header.values.get("tokenizer.ggml.tokens")
    if isinstance(tokens, LongArray):
        return tokens.length
    if isinstance(tokens, tuple):
        return len(tokens)
    table = next((row.tensor for row in sized if row.tensor.name == _EMBEDDING), None)
    return table.shape[1] if table is not None and len(table.shape) == 2 else None


def _number(header: GgufHeader, key: str) -> int | None:
    value = header.values.get(f"{header.architecture}.{key}")
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _experts_used(header: GgufHeader) -> int | None:
    """Experts that a token uses, the most of any layer."""
    value = header.values.get(f"{header.architecture}.expert_used_count")
    if isinstance(value, tuple):
        return max((item for item in value if isinstance(item, int)), default=None)
    return _number(header, "expert_used_count") or None
