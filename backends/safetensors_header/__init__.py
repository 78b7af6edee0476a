"""Read what safetensors files say of themselves: names, types and shapes of tensors, never weights. Knows no engine.

A file begins with eight bytes of length, then that many of JSON; the data follows. A folder with several files has an
index, which names the file of each tensor.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from backends.base import JsonObject, ModelFileError

__all__ = ["INDEX", "MOST_HEADER_BYTES", "SafetensorsHeader", "StoredTensor", "missing_files", "read_safetensors"]

INDEX: Final = "model.safetensors.index.json"
MOST_HEADER_BYTES: Final = 64 << 20
_HINT: Final = "resume or repeat the download"


class StoredTensor(msgspec.Struct, frozen=True):
    """One tensor: type as the file writes it (`F16`, `U32`), shape, and its bytes in the file."""

    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def elements(self) -> int:
        """Numbers of this type, which may each hold several packed weights."""
        return math.prod(self.shape)


class SafetensorsHeader(msgspec.Struct, frozen=True):
    """The header of one file: tensors by name, and what the writer noted (`format`: `mlx`)."""

    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]


class _Row(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_safetensors(file: Path) -> SafetensorsHeader:
    """Read the header of a safetensors file and check that the file holds all its data.

    Raises:
        ModelFileError: no such file, not of this format, damaged or cut short.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(MOST_HEADER_BYTES, size - 8):
                raise ModelFileError(f"{file} is no safetensors file, or cut short", hint=_HINT)
            header = msgspec.json.decode(stream.read(length), type=dict[str, Any])
    except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise ModelFileError(f"{file} cannot be read: {error}", hint=_HINT) from error
    metadata = _texts(header.pop("__metadata__", None))
    try:
        rows = msgspec.convert(header, dict[str, _Row])
    except msgspec.ValidationError as error:
        raise ModelFileError(f"{file}: a damaged safetensors header ({error})", hint=_HINT) from error
    for name, row in rows.items():
        start, end = row.data_offsets
        if not 0 <= start <= end or min(row.shape, default=0) < 0:
            raise ModelFileError(f"{file}: tensor {name} lies at absurd offsets", hint=_HINT)
    needed = 8 + length + max((row.data_offsets[1] for row in rows.values()), default=0)
    if needed > size:
        raise ModelFileError(f"{file} is cut short: {size} bytes of {needed}", hint=_HINT)
    tensors = {
        name: StoredTensor(row.dtype, row.shape, row.data_offsets[1] - row.data_offsets[0])
        for name, row in rows.items()
    }
    return SafetensorsHeader(tensors, metadata)


def missing_files(folder: Path) -> tuple[str, ...]:
    """Names of weight files that the folder's index names and that are not there; empty without an index."""
    try:
        index = msgspec.json.decode((folder / INDEX).read_bytes(), type=dict[str, Any])
    except (OSError, ValueError, RecursionError, msgspec.DecodeError):
        return ()
    named: Any = index.get("weight_map")
    files = {str(name) for name in cast("JsonObject", named).values()} if isinstance(named, dict) else set[str]()
    return tuple(sorted(name for name in files if not _is_file(folder, name)))


def _is_file(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):
        return False


def _texts(value: Any) -> dict[str, str]:
    given = cast("JsonObject", value) if isinstance(value, dict) else {}
    return {key: text for key, text in given.items() if isinstance(text, str)}
