"""Model folders with headers only: real shapes, data that is a hole in the file. No MLX."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIZES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "U8": 1}
Tensors = Mapping[str, tuple[str, tuple[int, ...]]]


def write_safetensors(file: Path, tensors: Tensors) -> Path:
    """Write a file of its full length without data."""
    rows: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * SIZES[dtype]
        rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(rows).encode()
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + end)
    return file


def write_folder(folder: Path, config: Mapping[str, Any], tensors: Tensors, name: str = "model.safetensors") -> Path:
    """Write a model folder with one weight file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / name, tensors)
    return folder


def affine(
    rows: int, columns: int, bits: int, group: int, *, experts: int = 0
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The three tensors of a matrix as `nn.quantize` stores them, by the last part of their names."""
    stacked = (experts,) if experts else ()
    scales = ("F16", (*stacked, rows, columns // group))
    return {"weight": ("U32", (*stacked, rows, columns * bits // 32)), "scales": scales, "biases": scales}


def floating(rows: int, columns: int, bits: int, group: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The two tensors of a matrix in a floating-point block format."""
    return {"weight": ("U32", (rows, columns * bits // 32)), "scales": ("U8", (rows, columns // group))}
