"""Read the header of a GGUF file. Big arrays are skipped, and every count is bounded before it is used.

A vocabulary of 150 k entries takes about 40 ms here, and seconds in a reader that keeps it. The file may be
anything that a user or a download left on disk.
"""

from __future__ import annotations

import stat
import struct
from pathlib import Path
from typing import BinaryIO

from backends.base import ModelFileError
from backends.gguf_header.header import GgufHeader, LongArray, Scalar, Tensor, Value

MAX_PAIRS = 65_536
MAX_TENSORS = 262_144
MAX_ITEMS = 4_194_304
"""Array items that are walked or skipped in one header; the largest vocabularies have about 600 k."""
MAX_KEPT_ITEMS = 1024
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 16 * 2**20
MAX_KEPT_BYTES = 64 * 2**20
"""All strings and short arrays of one header together."""
MAX_DIMENSIONS = 4

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_BLOCK_BYTES = 1 << 16
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"
}  # fmt: skip


def read_header(path: str | Path) -> GgufHeader:
    """Read the header of a GGUF file (version 2 or 3) and check that the file holds all its tensor data.

    Raises:
        ModelFileError: the file is missing, is no GGUF, is damaged or is cut short; says which and what to
        do.
    """
    file = Path(path)
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelFileError(f"{file} is a folder, not a model file", hint=_nearest_models(file))
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{file} is not a regular file", hint="name a .gguf file")
        with file.open("rb", buffering=1 << 18) as stream:
            return _Reader(file, stream, status.st_size).header()
    except FileNotFoundError as error:
        raise ModelFileError(f"model file {file} does not exist", hint=_nearest_models(file.parent)) from error
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"model file {file} cannot be read: {error}", hint="check the path and its rights"
        ) from error


def _nearest_models(folder: Path) -> str:
    try:
        found = sorted(entry.name for entry in folder.glob("*.gguf"))[:5]
    except (OSError, ValueError):
        found = []
    return f"in that folder: {', '.join(found)}" if found else "name a .gguf file"


class _Reader:
    """A cursor over the header of one file that refuses to pass the file's end or the bounds above."""

    def __init__(self, path: Path, stream: BinaryIO, size: int) -> None:
        self._path = path
        self._stream = stream
        self._size = size
        self._position = 0
        self._kept = 0
        self._items = 0

    def header(self) -> GgufHeader:
        self._check_magic()
        version = self._number("I")
        if version not in (2, 3):
            swapped = version & 0xFFFF == 0
            raise self._bad(
                f"GGUF version {version} is not supported" + (" (big-endian file)" if swapped else ""),
                hint="convert the model again with a current llama.cpp",
            )
        tensor_count, pair_count = self._number("Q"), self._number("Q")
        if pair_count > MAX_PAIRS or tensor_count > MAX_TENSORS:
            raise self._bad(f"absurd counts: {pair_count} key-values, {tensor_count} tensors")
        values: dict[str, Value] = {}
        for _ in range(pair_count):
            key = self._string(MAX_KEY_BYTES)
            if key in values:
                raise self._bad(f"the key {key!r} stands twice")
            values[key] = self._value(self._number("I"))
        tensors = tuple(self._tensor() for _ in range(tensor_count))
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
            raise self._bad(f"alignment {alignment!r} is no power of two")
        data_start = -(-self._position // alignment) * alignment
        self._check_length(data_start, tensors)
        return GgufHeader(version, self._size, data_start, values, tensors)

    def _check_magic(self) -> None:
        first = self._stream.read(16)
        self._stream.seek(4)
        self._position = 4
        if first[:4] == _MAGIC:
            return
        if not first:
            raise self._bad("the file is empty", hint="download the model again")
        if first.startswith(b"version https://"):
            raise self._bad("this is a Git LFS pointer, not the model", hint="run: git lfs pull")
        if first.lstrip()[:1] == b"<":
            raise self._bad("this is a web page, not a model", hint="download the file itself, not its page")
        if first[:2] == b"PK" or first[8:9] == b"{":
            raise self._bad("this is a PyTorch or safetensors file", hint="name a GGUF conversion of the model")
        if first[:4] in (b"lmgg", b"tjgg", b"fmgg"):
            raise self._bad("this is a GGML file from before GGUF", hint="download a GGUF conversion of the model")
        raise self._bad(f"not a GGUF file: begins with {first[:4]!r}", hint="name a .gguf file")

    def _check_length(self, data_start: int, tensors: tuple[Tensor, ...]) -> None:
        end = data_start if tensors else self._position
        for tensor in tensors:
            end = max(end, data_start + tensor.offset_bytes + (tensor.size_bytes or 0))
        if end > self._size:
            share = f"{100 * self._size / end:.1f} %"
            raise self._bad(
                f"cut short: the file has {self._size} bytes of {end} ({share})",
                hint="resume or repeat the download",
            )

    def _tensor(self) -> Tensor:
        name = self._string(MAX_KEY_BYTES)
        dimensions = self._number("I")
        if dimensions > MAX_DIMENSIONS:
            raise self._bad(f"tensor {name!r} has {dimensions} dimensions")
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))
        type_id, offset = self._number("I"), self._number("Q")
        return Tensor(name, shape, type_id, offset)

    def _value(self, type_id: int) -> Value:
        if type_id == _STRING:
            return self._string(MAX_STRING_BYTES)
        if type_id == _ARRAY:
            return self._array(self._number("I"), self._number("Q"))
        code = _SCALARS.get(type_id)
        if code is None:
            raise self._bad(f"unknown value type {type_id}")
        scalar: Scalar = struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]
        return scalar

    def _array(self, item_type: int, length: int) -> Value:
        self._items += length
        if self._items > MAX_ITEMS:
            raise self._bad(f"absurd arrays: more than {MAX_ITEMS} items")
        if item_type == _STRING:
            if length > MAX_KEPT_ITEMS:
                self._skip_strings(length)
                return LongArray(item_type, length)
            return tuple(self._string(MAX_STRING_BYTES) for _ in range(length))
        code = _SCALARS.get(item_type)
        if code is None:
            raise self._bad(f"array of unknown type {item_type}")
        size = length * struct.calcsize(f"<{code}")
        if length > MAX_KEPT_ITEMS:
            self._skip(size)
            return LongArray(item_type, length)
        return struct.unpack(f"<{length}{code}", self._take(size))

    def _string(self, limit: int) -> str:
        length = self._number("Q")
        if length > limit:
            raise self._bad(f"absurd string of {length} bytes")
        return self._take(length).decode("utf-8", "replace")

    def _number(self, code: str) -> int:
        number: int = struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]
        return number

    def _take(self, count: int) -> bytes:
        self._kept += count
        if self._kept > MAX_KEPT_BYTES:
            raise self._bad("absurd header: more than 64 MiB of names and values")
        self._advance(count)
        taken = self._stream.read(count)
        if len(taken) != count:
            raise self._cut()
        return taken

    def _skip(self, count: int) -> None:
        self._advance(count)
        self._stream.seek(count, 1)

    def _skip_strings(self, count: int) -> None:
        """Pass so many strings, a block of the file at a time: a read for each of them takes ten times as long."""
        block, place = b"", 0
        for _ in range(count):
            if len(block) - place < _LENGTH.size:
                block, place = block[place:] + self._stream.read(_BLOCK_BYTES), 0
                if len(block) < _LENGTH.size:
                    raise self._cut()
            length: int = _LENGTH.unpack_from(block, place)[0]
            place += _LENGTH.size + length
            self._advance(_LENGTH.size + length)
            if place > len(block):
                self._stream.seek(place - len(block), 1)
                block, place = b"", 0
        self._stream.seek(place - len(block), 1)

    def _advance(self, count: int) -> None:
        if count > self._size - self._position:
            raise self._cut()
        self._position += count

    def _cut(self) -> ModelFileError:
        return self._bad(
            f"cut short: the header goes on after the file's {self._size} bytes",
            hint="resume or repeat the download",
        )

    def _bad(self, what: str, *, hint: str = "download or convert the model again") -> ModelFileError:
        return ModelFileError(f"model file {self._path}: {what}", hint=hint)
