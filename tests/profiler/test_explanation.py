"""The documents of `dyno explain` and `dyno check`: their JSON Schemas, and the page on causes, are current."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profiler.causes.catalogue import CAUSES
from profiler.check import CheckDocument
from profiler.explanation import ExplainDocument
from tests.schema_file import check_schema_file

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "document"), [("explain", ExplainDocument), ("check", CheckDocument)])
def test_schema_files_are_current(name: str, document: type[Any]) -> None:
    check_schema_file(name, document)


def test_the_page_lists_every_cause() -> None:
    page = (DOCS / "explain.md").read_text(encoding="utf-8")
    for kind in CAUSES:
        assert f"| `{kind.code}` | {kind.title} |" in page
