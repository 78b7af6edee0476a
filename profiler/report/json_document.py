"""A document as one JSON object, the form of every `--json`."""

from __future__ import annotations

import sys
from typing import Any, TextIO

import msgspec


def print_json(document: Any, out: TextIO | None = None) -> None:
    """Write the document, indented, with a line end; to standard output unless `out` is given."""
    (out or sys.stdout).write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
