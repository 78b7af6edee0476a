"""An MLX (or Hugging Face) model folder as a `ModelFile`: `config.json` and the JSON headers of `*.safetensors`.

Weights are never read. A quantised matrix is stored as packed words (`weight`), `scales` and, for affine ones,
`biases`; the three count as one tensor. Bits and group follow from the shapes (`quantised`).
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from backends.base import JsonObject, ModelFileError
from backends.safetensors_header import StoredTensor, missing_files, read_safetensors
from profiler.model_file.base import Layer, ModelFile, NotToldError
from profiler.model_file.mlx_layers import layers_of
from profiler.model_file.quantised import Weight, matrices_of, said_of
from profiler.model_file.shares import LEAST_SHARE, type_shares

_HINT: Final = "name a folder with an MLX model, as mlx_lm.convert or huggingface_hub leave it"
_MOST_CONFIG_BYTES: Final = 16 << 20
_SHARD: Final = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors$")
_LAYER: Final = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d{1,5})\.")
_EXPERTS: Final = re.compile(r"(?:(?<!shared_)experts|switch_mlp|switch_glu)\.")
_EMBEDDING: Final = re.compile(r"(?:^|\.)(?:embed_tokens|wte|embeddings|embed_tokens_per_layer|tok_embeddings)$")
_MAIN_EMBEDDING: Final = re.compile(r"(?:^|\.)(?:embed_tokens|wte|embeddings|tok_embeddings)$")
_OUTPUT: Final = re.compile(r"(?:^|\.)lm_head$")
_NOT_TEXT: Final = re.compile(r"(?:^|\.)(?:vision|visual|audio|multi_modal|mtp)\w*\.")


def read_mlx(folder: Path) -> ModelFile:
    """Read the headers of a model folder.

    Raises:
        ModelFileError: no config, no weights, a weight file is missing, damaged or cut short.
    """
    config = _config(folder)
    files = _weight_files(folder)
    stored: dict[str, StoredTensor] = {}
    for file in files:
        tensors = read_safetensors(file).tensors
        if twice := stored.keys() & tensors.keys():
            raise ModelFileError(f"{file}: the tensor {min(twice)} stands in two files", hint=_HINT)
        stored |= tensors
    text = said_of(config.get("text_config"))
    told = text | {key: value for key, value in config.items() if key not in text}
    weights, notes = matrices_of(stored, config, told)
    parameters = sum(weight.parameters for weight in weights)
    if not parameters:
        raise ModelFileError(f"{folder} has no weights in its files", hint=_HINT)
    architecture = config.get("model_type")
    layers, note = _layers(str(architecture), told, weights)
    tied = not any(_OUTPUT.search(weight.name) for weight in weights)
    output = _MAIN_EMBEDDING if tied else _OUTPUT
    experts, used = _count(told, "num_experts", "num_local_experts", "n_routed_experts"), _used(told)
    active = _active(weights, experts, used, tied=tied)
    label = _label(config)
    other = sum(weight.bytes for weight in weights if _NOT_TEXT.search(weight.name))
    notes += [note] if note else []
    notes += _doubts(label, weights)
    notes += [f"{other} bytes are of parts for pictures, sound or draft, which mlx-lm leaves out"] if other else []
    return ModelFile(
        path=folder,
        files=files,
        container="mlx",
        architecture=architecture if isinstance(architecture, str) else None,
        name=folder.absolute().name,
        label=label,
        types=type_shares((weight.type, weight.parameters, weight.bytes) for weight in weights),
        tensor_bytes=sum(weight.bytes for weight in weights),
        parameters=parameters,
        active_bytes=active[0] if active else None,
        active_parameters=active[1] if active else None,
        layers=layers,
        context_tokens=_count(told, "max_position_embeddings"),
        vocabulary_tokens=_count(told, "vocab_size"),
        embedding_values=_count(told, "hidden_size"),
        experts=experts,
        experts_used=used,
        has_template=_has_template(folder),
        layer_bytes=_layer_bytes(weights, layers),
        embedding_bytes=sum(weight.bytes for weight in weights if _EMBEDDING.search(weight.name)),
        output_bytes=next((weight.bytes for weight in weights if output.search(weight.name)), None),
        tied=tied,
        notes=tuple(notes),
    )


def _config(folder: Path) -> JsonObject:
    file = folder / "config.json"
    try:
        if file.stat().st_size > _MOST_CONFIG_BYTES:
            raise ModelFileError(f"{file} is too large to be a model's config", hint=_HINT)
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except FileNotFoundError as error:
        raise ModelFileError(f"model folder {folder} has no config.json", hint=_HINT) from error
    except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise ModelFileError(f"{file} cannot be read: {error}", hint=_HINT) from error


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """The weight files that mlx-lm loads (`model*.safetensors`), all of them there."""
    missing = list(missing_files(folder))
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
    if not files and not missing:
        raise ModelFileError(f"model folder {folder} has no weights (model*.safetensors)", hint=_HINT)
    names = {file.name for file in files}
    for name in names:
        if (shard := _SHARD.match(name)) and int(shard["count"]) <= 4096:
            others = (
                f"{shard['stem']}-{n:05}-of-{shard['count']}.safetensors" for n in range(1, int(shard["count"]) + 1)
            )
            missing += [other for other in others if other not in names]
    if missing:
        gone = sorted(set(missing))
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise ModelFileError(
            f"model folder {folder}: weight file {gone[0]}{more} is missing", hint="download it into the folder"
        )
    return tuple(files)


def _layers(kind: str, told: JsonObject, weights: list[Weight]) -> tuple[tuple[Layer, ...] | None, str | None]:
    rows = {weight.name: weight.rows for weight in weights if not _NOT_TEXT.search(weight.name)}
    try:
        return layers_of(kind, told, rows), None
    except NotToldError as error:
        return None, f"the layers cannot be told: {error}"


def _active(weights: list[Weight], experts: int | None, used: int | None, *, tied: bool) -> tuple[int, int] | None:
    """Bytes and parameters that decoding one token reads; `None` where the share of the experts is not told."""
    read_bytes = read_parameters = 0
    for weight in weights:
        over, under = 1, 1
        if _NOT_TEXT.search(weight.name):
            continue
        if _EMBEDDING.search(weight.name) and not (tied and _MAIN_EMBEDDING.search(weight.name)):
            under = max(weight.rows, 1)
        elif _EXPERTS.search(weight.name + "."):
            if not experts or not used:
                return None
            over, under = used, experts
        read_bytes += weight.bytes * over // under
        read_parameters += weight.parameters * over // under
    return read_bytes, read_parameters


def _layer_bytes(weights: list[Weight], layers: tuple[Layer, ...] | None) -> tuple[int, ...] | None:
    if layers is None:
        return None
    sums = [0] * len(layers)
    for weight in weights:
        found = _LAYER.search(weight.name)
        if found is not None and not _NOT_TEXT.search(weight.name) and int(found[1]) < len(sums):
            sums[int(found[1])] += weight.bytes
    return tuple(sums)


def _label(config: JsonObject) -> str | None:
    """`affine 4-bit g64`, as the types are called, or the type of a model that is not quantised."""
    quantization = said_of(config.get("quantization") or config.get("quantization_config"))
    if "bits" in quantization:
        mode = quantization.get("mode", "affine")
        if mode != "affine":
            return str(mode)
        return f"{mode} {quantization['bits']}-bit g{quantization.get('group_size', 64)}"
    stored = config.get("torch_dtype") or config.get("dtype")
    return stored if isinstance(stored, str) else None


def _doubts(label: str | None, weights: list[Weight]) -> list[str]:
    held: Counter[str] = Counter()
    for weight in weights:
        if weight.quantised and not _EMBEDDING.search(weight.name):
            held[weight.type] += weight.parameters
    total = sum(held.values())
    if label is None or not total or held[label] >= LEAST_SHARE * total:
        return []
    most, parameters = held.most_common(1)[0]
    share = f"{100 * parameters / total:.0f} %"
    return [f"config.json says {label}, but {most} holds {share} of the quantised weights and {label} "
            f"{100 * held[label] / total:.0f} %"]  # fmt: skip


def _count(told: JsonObject, *keys: str) -> int | None:
    values = (told.get(key) for key in keys)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0), None)


def _used(told: JsonObject) -> int | None:
    return _count(told, "num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk", "moe_k")


def _has_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        found: Any = msgspec.json.decode((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError, RecursionError, msgspec.DecodeError):
        return False
    return isinstance(found, dict) and bool(cast("JsonObject", found).get("chat_template"))
