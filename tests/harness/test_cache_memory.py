"""`dyno cache` says where the memory of a real engine went, and nothing of a simulated one's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends.random_models import write_swa
from tests.harness.test_cache_command import document, dyno

MIB = 1 << 20


@pytest.mark.engine
@pytest.mark.parametrize("name", ["llama-server", "llama-cpp"])
def test_memory_of_a_real_engine_is_in_the_report_and_in_json(name: str, tmp_path: Path) -> None:
    pytest.importorskip({"llama-server": "xllamacpp", "llama-cpp": "llama_cpp"}[name])
    model = write_swa(tmp_path / "m.gguf")
    target = f"{name}:{model}?ctx=8192&threads=1"
    code, out, err = dyno("cache", target, "-s", "title-call", "--json", cwd=tmp_path)
    assert code == 0, err
    value = document(out)
    memory = value["residency"]
    assert memory["reason"] is None
    assert memory["samples"] >= 2
    assert 0 < memory["must_have_peak_bytes"] <= memory["rss_peak_bytes"]
    assert memory["load"]["kv_bytes"] > MIB
    assert memory["must_have_peak_bytes"] > memory["load"]["kv_bytes"]
    assert memory["sessions"][0]["session"] == "title-call"
    _, shown, _ = dyno("report", cwd=tmp_path)
    assert "memory peak " in shown
    assert "its load log: weights" in shown
    lines = (tmp_path / "runs" / value["run"] / "residency.jsonl").read_text().splitlines()
    assert len(lines) - 1 == memory["samples"]


def test_a_simulated_engine_has_no_memory(tmp_path: Path) -> None:
    _, out, _ = dyno("cache", "scripted:", "-s", "append-only", "--json", cwd=tmp_path)
    assert document(out)["residency"] is None
    _, shown, _ = dyno("report", cwd=tmp_path)
    assert "memory" not in shown
