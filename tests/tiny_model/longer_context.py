"""A copy of a model file that says it has a longer context, for replies that are forced: its own are not asked.

Servers refuse prompts beyond the context that a file names, whatever they are told to allocate.
"""

from __future__ import annotations

import shutil
from pathlib import Path


def write_longer_context(model: Path, copy: Path, context_tokens: int) -> None:
    """Write `copy` with another `context_length`; everything else stays."""
    import gguf  # noqa: PLC0415 - of the tools of development, and slow to import

    shutil.copyfile(model, copy)
    reader = gguf.GGUFReader(str(copy), "r+")
    field = next(field for name, field in reader.fields.items() if name.endswith(".context_length"))
    field.parts[field.data[0]][0] = context_tokens
    reader.data.flush()
