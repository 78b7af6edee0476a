"""The JSON Schema of a command's document, in docs/: it must be the one that its types make."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

DOCS = Path(__file__).parents[1] / "docs"
REGENERATE = "DYNO_REGENERATE" in os.environ  # read before the tests clear the environment


def check_schema_file(command: str, document: type[Any]) -> None:
    """Fail where `docs/<command>.schema.json` is not current; with DYNO_REGENERATE set, write it first."""
    schema = msgspec.json.schema(document)
    schema["title"] = f"dyno {command} --json"
    text, file = json.dumps(schema, indent=2) + "\n", DOCS / f"{command}.schema.json"
    if REGENERATE:
        file.write_text(text)
        pytest.fail(f"docs/{file.name} was written anew: look at the difference and run again")
    assert file.read_text() == text, "run with DYNO_REGENERATE=1"
