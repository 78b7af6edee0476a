"""A model file as a value, of which nothing is known but that it is there: tests replace what they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from profiler.model_file.base import ModelFile

BARE: Final = ModelFile(
    path=Path("m.gguf"),
    files=(Path("m.gguf"),),
    container="gguf",
    architecture="llama",
    name=None,
    label=None,
    types=(),
    tensor_bytes=1,
    parameters=1,
    active_bytes=None,
    active_parameters=None,
    layers=None,
    context_tokens=None,
    vocabulary_tokens=None,
    embedding_values=None,
)
