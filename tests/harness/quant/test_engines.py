"""Which engine measures which file, and with which launch settings."""

from __future__ import annotations

import pytest

from backends.base import MissingExtra
from harness.experiment.plan import PlanError
from harness.quant.base import Wanted
from harness.quant.engines import default_threads, engine_of, options_of, scorer_of, scorer_options
from tests.harness.quant.comparisons import candidate, model

GGUF, MLX = model(), model(container="mlx")


@pytest.mark.parametrize(
    ("installed", "engine"),
    [({"xllamacpp", "llama_cpp"}, "llama-server"), ({"llama-server"}, "llama-server"), ({"llama_cpp"}, "llama-cpp")],
)
def test_a_gguf_file_is_measured_on_llama_server_if_it_is_there(installed: set[str], engine: str) -> None:
    assert engine_of(GGUF, has=lambda name: name in installed) == engine


def test_an_engine_that_is_missing_is_named_with_what_installs_it() -> None:
    with pytest.raises(MissingExtra) as raised:
        engine_of(GGUF, has=lambda _: False)
    assert "llama-server" in (raised.value.hint or "")
    with pytest.raises(MissingExtra):
        engine_of(MLX, has=lambda name: name == "xllamacpp")
    assert engine_of(MLX, has=lambda name: name == "mlx_lm") == "mlx"
    assert engine_of(MLX, installed=False) == "mlx"


def test_context_is_of_each_slot() -> None:
    options = options_of("llama-server", GGUF, "q8_0", Wanted(4096, 4), {"threads": "3"})
    assert options == {"ctx": "16384", "slots": "4", "kv": "q8_0", "threads": "3"}
    assert options_of("llama-cpp", GGUF, "f16", Wanted(4096), {})["ctx"] == "4096"


def test_what_an_engine_cannot_do_is_said() -> None:
    with pytest.raises(PlanError, match="one sequence at a time"):
        options_of("llama-cpp", GGUF, "f16", Wanted(4096, 2), {})
    with pytest.raises(PlanError, match="no KV cache of type iq4_nl"):
        options_of("mlx", MLX, "iq4_nl", Wanted(4096), {})
    assert options_of("mlx", MLX, "q4_0", Wanted(4096), {}) == {"ctx": "4096", "kv_bits": "4", "kv_start": "0"}


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (4, 2), (5, None), (64, None)])
def test_few_cores_are_not_all_taken(cores: int, threads: int | None) -> None:
    assert default_threads(cores) == threads


def test_a_scorer_has_the_kv_cache_of_its_candidate() -> None:
    of = candidate("Q8_0", 8.5, kv="q8_0")
    assert scorer_options("llama-cpp", of) == {"kv": "q8_0"}
    assert scorer_options("mlx", of) == {}


def test_logits_come_from_what_is_there_and_quickest() -> None:
    everything, wheel = {"xllamacpp", "llama_cpp", "mlx_lm"}, {"xllamacpp"}
    assert scorer_of(GGUF, has=lambda name: name in everything) == "llama-cpp"
    assert scorer_of(model(vocabulary_tokens=32_768), has=lambda name: name in wheel) == "llama-server"
    assert scorer_of(model(vocabulary_tokens=32_769), has=lambda name: name in wheel) is None
    assert scorer_of(model(vocabulary_tokens=None), has=lambda name: name in wheel) is None
    assert scorer_of(MLX, has=lambda name: name in wheel) is None
    assert scorer_options("llama-server", candidate("Q8_0", 8.5, kv="q8_0"))["kv"] == "q8_0"
