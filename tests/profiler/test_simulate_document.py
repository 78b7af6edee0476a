"""The JSON Schema of `dyno simulate --json` in docs/ is the one that its types make."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from profiler.simulate_document import SimulateDocument

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "simulate.schema.json"
REGENERATE = "DYNO_REGENERATE" in os.environ  # read before the tests clear the environment


def test_schema_file_is_current() -> None:
    schema = msgspec.json.schema(SimulateDocument)
    schema["title"] = "dyno simulate --json"
    text = json.dumps(schema, indent=2) + "\n"
    if REGENERATE:
        SCHEMA_FILE.write_text(text)
        pytest.fail("docs/simulate.schema.json was written anew: look at the difference and run again")
    assert SCHEMA_FILE.read_text() == text, "run with DYNO_REGENERATE=1"


def test_schema_holds_what_other_programs_rely_on() -> None:
    definitions = json.loads(SCHEMA_FILE.read_text())["$defs"]
    document = {"schema", "fidelity", "complete", "workloads", "verdict", "settings", "limit", "left_out"}
    assert set(definitions["SimulateDocument"]["required"]) >= document
    assert definitions["SimulateDocument"]["properties"]["fidelity"]["enum"] == ["simulate"]
    row = {"rank", "engine", "options", "is_default", "is_own", "evaluated_tokens", "reused_share", "full_misses"}
    assert set(definitions["SettingRow"]["required"]) >= row
    assert {"compared", "agreeing", "exact", "unknown", "share"} <= set(definitions["Agreement"]["required"])
