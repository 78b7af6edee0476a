"""Chat templates under which a cause comes about, as files for an engine's `template` option."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.tiny_model.templates import FOLDER

__all__ = ["TEMPLATES", "write_templates"]

TEMPLATES: Final = ("strip", "begin")
_BEGIN: Final = "{%- if begin %}{{- '<|endoftext|>' }}{%- endif %}\n"


def write_templates(folder: Path) -> dict[str, Path]:
    """`strip` leaves earlier reasoning out; `begin` writes a begin-of-text token where a request asks for it."""
    begin = folder / "chatml-begin.jinja"
    begin.write_text(_BEGIN + (FOLDER / "chatml-stable.jinja").read_text())
    return {"strip": FOLDER / "chatml-strip.jinja", "begin": begin}
