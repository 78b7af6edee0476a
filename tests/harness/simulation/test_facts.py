"""What a policy is told of a model and of a run's engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.base import Facts, ModelFileError
from harness.simulation.facts import facts_of_model, facts_of_run, own_options
from profiler.records import Machine, RunInfo
from tests.tiny_model.architectures import WINDOW, write_hybrid, write_sliding_window

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"


def run_info(target: str = "llama-server:gone.gguf", **facts: Any) -> RunInfo:
    return RunInfo(
        run_id="r",
        command="cache",
        started_unix_ns=0,
        target=target,
        facts=Facts(**{"engine": "llama-server", **facts}),
        machine=Machine("Linux", None, None, None, None),
        versions={},
        settings={},
    )


def test_a_model_file_says_kind_context_and_what_a_saved_token_takes() -> None:
    """2060 bytes are what llama-server was seen to save for a token of this model (benchmarks/policy_agreement.py)."""
    facts = facts_of_model(str(TINY))
    assert facts.values == {"cache_kind": "full", "window": 0, "model_ctx": 32768, "kv_bytes_per_token": 2060.0}
    assert facts.notes == ()
    assert facts_of_model(str(TINY), "q8_0").values["kv_bytes_per_token"] == 2048 / 2 * 34 / 32 + 12


def test_what_other_caches_save_is_not_known(tmp_path: Path) -> None:
    window = facts_of_model(str(write_sliding_window(tmp_path / "window.gguf")))
    assert (window.values["cache_kind"], window.values["window"]) == ("sliding_window", WINDOW)
    assert "kv_bytes_per_token" not in window.values
    assert "never full" in window.notes[0]
    assert facts_of_model(str(write_hybrid(tmp_path / "hybrid.gguf"))).values["cache_kind"] == "recurrent"


def test_a_folder_says_its_window(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"sliding_window": 512, "hidden_size": 64}')
    assert facts_of_model(str(tmp_path)).values == {"cache_kind": "sliding_window", "window": 512}
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelFileError, match=r"config\.json"):
        facts_of_model(str(tmp_path))


def test_a_runs_model_file_knows_more_than_its_engine() -> None:
    facts = facts_of_run(run_info(f"llama-server:{TINY}?ctx=4096", cache_kind="full", settings={"kv": "q8_0"}))
    assert facts.values["kv_bytes_per_token"] < 2060
    assert facts.notes == ()


def test_without_the_file_what_is_missing_is_said() -> None:
    known = facts_of_run(run_info(cache_kind="sliding_window", context_tokens=8192))
    assert known.values == {"cache_kind": "sliding_window", "model_ctx": 8192}
    assert "--set window=" in known.notes[0]
    assert facts_of_run(run_info(cache_kind="sliding_window"), {"window": "128"}).notes == ()
    assert "full attention is assumed" in facts_of_run(run_info()).notes[0]
    assert facts_of_run(run_info("a target that is gone", cache_kind="full")).values == {"cache_kind": "full"}


@pytest.mark.parametrize(
    ("facts", "own"),
    [
        ({"launched": True, "settings": {"ctx": "8192", "threads": "1", "swa_full": "True"}}, ("8192", "on", None)),
        ({"launched": True, "context_tokens": 512, "slots": 4}, (None, None, None)),
        ({"context_tokens": 512, "slots": 4}, ("512", None, None)),
        ({"context_tokens": 512, "slots": 2}, ("1024", None, "2")),
    ],
)
def test_the_settings_of_a_llama_server(facts: dict[str, Any], own: tuple[str | None, str | None, str | None]) -> None:
    """One that was attached to tells its slots and the context of each; four are its automatic mode."""
    found = own_options(run_info(**facts))
    assert found is not None
    swa_full = "on" if found.get("swa_full") == "True" else found.get("swa_full")
    assert (found.get("ctx"), swa_full, found.get("slots")) == own
    assert "threads" not in found


def test_the_settings_of_other_engines() -> None:
    assert own_options(run_info(engine="mlx", context_tokens=4096, settings={"ctx": "default"})) == {"ctx": "4096"}
    vllm = run_info(engine="vllm", context_tokens=4096, granularity_tokens=32)
    assert own_options(vllm) == {"ctx": "4096", "block_size": "32"}
    assert own_options(run_info(engine="lmstudio")) is None
