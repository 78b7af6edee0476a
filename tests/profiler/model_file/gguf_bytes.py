"""GGUF files as bytes, made by hand: any header, with data that is a hole in the file. No engine, no library."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

Value = bool | int | float | str | Sequence[int] | Sequence[str]
Row = tuple[str, tuple[int, ...], int, int]
"""Name, shape, ggml type id, bytes."""


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value_bytes(value: Value) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(str(item)) for item in value)
    return struct.pack(f"<IIQ{len(value)}I", 9, 4, len(value), *value)


def write_gguf(path: Path, values: Mapping[str, Value], rows: Sequence[Row] = ()) -> Path:
    """Write a file of its full length whose data is a hole."""
    body = b"GGUF" + struct.pack("<IQQ", 3, len(rows), len(values))
    body += b"".join(text(key) + value_bytes(value) for key, value in values.items())
    offset = 0
    for name, shape, type_id, size in rows:
        body += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, type_id, offset)
        offset += -(-size // 32) * 32
    with path.open("wb") as file:
        file.write(body + b"\0" * (-len(body) % 32))
        file.truncate(file.tell() + offset)
    return path


def keys(architecture: str, **values: Value) -> dict[str, Value]:
    """A header of an architecture; `attention__head_count` stands for `attention.head_count`."""
    own = {f"{architecture}.{key.replace('__', '.')}": value for key, value in values.items()}
    return {"general.architecture": architecture, **own}
