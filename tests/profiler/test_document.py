"""The document's JSON Schema in docs/ is the one that its types make."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from profiler.document import CacheDocument

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "cache.schema.json"
REGENERATE = "DYNO_REGENERATE" in os.environ  # read before the tests clear the environment
REQUIRED = {"schema", "run", "target", "engine", "verdict", "sessions", "requests"}


def test_schema_file_is_current() -> None:
    schema = msgspec.json.schema(CacheDocument)
    schema["title"] = "dyno cache --json"
    text = json.dumps(schema, indent=2) + "\n"
    if REGENERATE:
        SCHEMA_FILE.write_text(text)
        pytest.fail("docs/cache.schema.json was written anew: look at the difference and run again")
    assert SCHEMA_FILE.read_text() == text, "run with DYNO_REGENERATE=1"


def test_schema_holds_what_other_programs_rely_on() -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    definitions = schema["$defs"]
    assert set(definitions["CacheDocument"]["required"]) >= REQUIRED
    assert {"stable", "full_miss_rate", "reuse_efficiency", "lost_s"} <= set(definitions["Verdict"]["required"])
    session = {"name", "continuations", "hit", "partial", "full_miss", "unknown", "lost_s"}
    session |= {"lost_prompt_side_tokens", "lost_engine_side_tokens"}
    assert session <= set(definitions["SessionRow"]["required"])
    request = {"session", "turn", "class", "prompt_tokens", "cached_tokens", "cached_source", "lcp_tokens"}
    request |= {"prev_tokens", "ttft_ns", "prefill_tokens_per_s", "decode_tokens_per_s", "error"}
    assert request <= set(definitions["RequestRow"]["required"])
