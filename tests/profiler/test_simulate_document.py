"""The JSON Schema of `dyno simulate --json` in docs/ is the one that its types make."""

from __future__ import annotations

import json
from pathlib import Path

from profiler.simulate_document import SimulateDocument
from tests.schema_file import check_schema_file

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "simulate.schema.json"


def test_schema_file_is_current() -> None:
    check_schema_file("simulate", SimulateDocument)


def test_schema_holds_what_other_programs_rely_on() -> None:
    definitions = json.loads(SCHEMA_FILE.read_text())["$defs"]
    document = {"schema", "fidelity", "complete", "workloads", "verdict", "settings", "limit", "left_out"}
    assert set(definitions["SimulateDocument"]["required"]) >= document
    assert definitions["SimulateDocument"]["properties"]["fidelity"]["enum"] == ["simulate"]
    row = {"rank", "engine", "options", "is_default", "is_own", "evaluated_tokens", "reused_share", "full_misses"}
    assert set(definitions["SettingRow"]["required"]) >= row
    assert {"compared", "agreeing", "exact", "unknown", "share"} <= set(definitions["Agreement"]["required"])
