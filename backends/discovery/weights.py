"""What one model on the disk says of itself: a GGUF file with its further parts, or a folder with safetensors weights.

Headers alone are read. A fault is a text, not an error: a list of models must not end at its first broken one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec

from backends.base import JsonObject, ModelFileError
from backends.discovery.places import Keeper
from backends.gguf_header import part_of, read_header
from backends.safetensors_header import missing_files, read_safetensors
from backends.workers.model_folder import read_folder

__all__ = ["NOT_READ", "FoundModel", "Kind", "describe_folder", "describe_gguf"]

Kind = Literal["GGUF", "MLX", "safetensors"]

NOT_READ: Final = "header not read"
"""The fault of a model whose header was left alone, since the time for reading was over."""

_NO_MODEL: Final = {"clip": "an image encoder (mmproj), not a model", "imatrix": "an importance matrix, not a model"}


class FoundModel(msgspec.Struct, frozen=True):
    """A model on the disk. `size_bytes` is that of all its parts; architecture, quant and `context_tokens` (what it was
    made for) are as its header says.

    `target` is what to type for dyno, `None` where it is of no use to it; `fault` says what is wrong with it, or that
    its header was not read.
    """

    name: str
    kind: Kind
    keeper: Keeper
    path: str
    size_bytes: int
    files: int = 1
    architecture: str | None = None
    quant: str | None = None
    context_tokens: int | None = None
    target: str | None = None
    fault: str | None = None


def describe_gguf(parts: dict[int, tuple[Path, int]], name: str, keeper: Keeper, *, read: bool = True) -> FoundModel:
    """A GGUF model of one file or of several: paths and sizes in bytes by part number, from 1.

    `read=False` leaves its header alone, where the time for reading is over.
    """
    first = min(parts)
    path, size = parts[first][0], sum(size for _, size in parts.values())
    split = part_of(path.name)
    found = FoundModel(name, "GGUF", keeper, str(path), size, files=len(parts))
    wanted = split[2] if split else 1
    if len(parts) != wanted or first != 1:
        return msgspec.structs.replace(found, fault=f"{len(parts)} of {wanted} parts are here")
    if not read:
        return msgspec.structs.replace(found, target=_target("llama-server", path), fault=NOT_READ)
    try:
        header = read_header(path)
    except ModelFileError as error:
        return msgspec.structs.replace(found, fault=_without_path(error, path))
    use = header.values.get("general.type")
    no_model = _NO_MODEL.get(header.architecture or "") or _NO_MODEL.get(str(use))
    if use == "adapter":
        no_model = "a LoRA adapter, not a model"
    return msgspec.structs.replace(
        found,
        architecture=header.architecture,
        quant=header.file_type,
        context_tokens=header.context_length,
        target=None if no_model else _target("llama-server", path),
        fault=no_model,
    )


def describe_folder(
    folder: Path, weights: dict[Path, int], name: str, keeper: Keeper, *, read: bool = True
) -> FoundModel:
    """A folder with `config.json` and safetensors files, whose sizes in bytes are `weights`.

    It is MLX's where its first file says so (`format: mlx`), or its config has MLX's `quantization`.
    """
    found = FoundModel(name, "safetensors", keeper, str(folder), sum(weights.values()), files=len(weights))
    if not read:
        return msgspec.structs.replace(found, target=_target("mlx", folder), fault=NOT_READ)
    first = min(weights)
    try:
        header = read_safetensors(first)
        described = read_folder(str(folder))
    except ModelFileError as error:
        return msgspec.structs.replace(found, fault=_without_path(error, folder))
    is_mlx = header.metadata.get("format") == "mlx" or _has_mlx_quantization(folder)
    missing = len(missing_files(folder))
    return msgspec.structs.replace(
        found,
        kind="MLX" if is_mlx else "safetensors",
        architecture=described.architecture,
        quant=described.quant,
        context_tokens=described.context_tokens,
        target=None if missing else _target("mlx", folder),
        fault=f"{missing} of its weight files are missing" if missing else None,
    )


def _has_mlx_quantization(folder: Path) -> bool:
    return "bits" in _inner(_json(folder / "config.json").get("quantization"))


def _json(file: Path) -> JsonObject:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _inner(value: Any) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _target(engine: str, path: Path) -> str | None:
    """A target's path ends at `?`: one that holds it cannot be written."""
    return None if "?" in str(path) else f"{engine}:{path}"


def _without_path(error: ModelFileError, *paths: Path) -> str:
    """The error's text without the path, which stands beside it."""
    text = str(error)
    for path in paths:
        for written in (f"model file {path}: ", f"model file {path} ", f": '{path}'", f"{path}/", f"{path} "):
            text = text.replace(written, "")
    return text
