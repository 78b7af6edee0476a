"""The documents of `dyno explain` and `dyno check`: their JSON Schemas, and the page on causes, are current."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.causes.catalogue import CAUSES
from profiler.check import CheckDocument
from profiler.explanation import ExplainDocument

DOCS = Path(__file__).parents[2] / "docs"
REGENERATE = "DYNO_REGENERATE" in os.environ  # read before the tests clear the environment


@pytest.mark.parametrize(("name", "document"), [("explain", ExplainDocument), ("check", CheckDocument)])
def test_schema_files_are_current(name: str, document: type[Any]) -> None:
    schema = msgspec.json.schema(document)
    schema["title"] = f"dyno {name} --json"
    text, file = json.dumps(schema, indent=2) + "\n", DOCS / f"{name}.schema.json"
    if REGENERATE:
        file.write_text(text)
        pytest.fail(f"{file.name} was written anew: look at the difference and run again")
    assert file.read_text() == text, "run with DYNO_REGENERATE=1"


def test_the_page_lists_every_cause() -> None:
    page = (DOCS / "explain.md").read_text(encoding="utf-8")
    for kind in CAUSES:
        assert f"| `{kind.code}` | {kind.title} |" in page
