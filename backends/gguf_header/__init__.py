"""Read what a GGUF file says of itself: key-values and tensor table, never weights. Knows no engine.

`header` holds the values and what follows from them, `reader` takes them out of a file, `parts` knows the names of a
split model's files.
"""

from __future__ import annotations

from backends.gguf_header.header import GgufHeader, LongArray, Tensor, Value
from backends.gguf_header.parts import part_of, part_paths
from backends.gguf_header.reader import read_header

__all__ = ["GgufHeader", "LongArray", "Tensor", "Value", "part_of", "part_paths", "read_header"]
