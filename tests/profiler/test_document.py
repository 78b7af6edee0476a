"""The document's JSON Schema in docs/ is the one that its types make."""

from __future__ import annotations

import json
from pathlib import Path

from profiler.document import CacheDocument
from tests.schema_file import check_schema_file

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "cache.schema.json"
REQUIRED = {"schema", "run", "target", "engine", "verdict", "sessions", "requests"}


def test_schema_file_is_current() -> None:
    check_schema_file("cache", CacheDocument)


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
