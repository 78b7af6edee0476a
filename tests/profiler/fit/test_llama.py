"""llama.cpp's memory by formula: hand-made sums here, the engine's own plan of the same loads below them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import open_planner
from backends.abilities import Planner
from backends.base import Target
from profiler.fit.base import MemoryPrediction, What
from profiler.fit.cache_types import CACHE_TYPES
from profiler.fit.formula import LlamaSettings, MlxSettings, predict
from profiler.fit.target_settings import settings_of
from profiler.model_file import read_model
from profiler.model_file.base import Layer, ModelFile, TypeShare
from tests.backends.random_models import write_mamba, write_swa
from tests.profiler.bare_model import BARE
from tests.profiler.fit import sparse_models
from tests.tiny_model.architectures import write_hybrid, write_sliding_window

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
MIB = 1 << 20
MODEL = msgspec.structs.replace(
    BARE,
    types=(TypeShare("F16", 1, 500, 1000),),
    tensor_bytes=1000,
    parameters=500,
    layers=(Layer("attention", 128, 64),) * 4,
    context_tokens=1000,
    vocabulary_tokens=100,
    embedding_values=32,
    layer_bytes=(200, 200, 200, 100),
    embedding_bytes=120,
    output_bytes=120,
    feed_forward_values=64,
    tied=True,
)


def size(found: MemoryPrediction, *what: What, place: str = "host") -> int:
    return sum(part.bytes for part in found.parts if part.what in what and part.place == place and not part.at_most)


def model(**changes: Any) -> ModelFile:
    return msgspec.structs.replace(MODEL, **changes)


@pytest.mark.parametrize(
    ("changes", "cells"),
    [
        ({"context_tokens": 256}, 256),
        ({"context_tokens": 257}, 512),
        ({"context_tokens": 0}, 1024),
        ({"context_tokens": 4096, "slots": 4}, 4096),
        ({"context_tokens": 5000, "slots": 4}, 4 * 1280),
        ({"context_tokens": 5000, "slots": 3}, 3 * 1792),
        ({"context_tokens": 5000, "slots": 4, "unified": True}, 5120),
    ],
)
def test_cells_are_rounded_up_for_each_slot(changes: dict[str, Any], cells: int) -> None:
    assert size(predict(MODEL, LlamaSettings(**changes)), "kv_cache") == cells * 4 * (128 + 64) * 2


@pytest.mark.parametrize(("kv", "row"), [("f32", 768), ("bf16", 384), ("q8_0", 204), ("q5_1", 144), ("q4_0", 108)])
def test_types_of_cache(kv: str, row: int) -> None:
    found = predict(MODEL, LlamaSettings(1024, key_type=kv, value_type=kv))
    assert size(found, "kv_cache") == 1024 * 4 * row


def test_keys_and_values_of_different_types() -> None:
    found = predict(MODEL, LlamaSettings(1024, key_type="q8_0", value_type="f16"))
    assert size(found, "kv_cache") == 1024 * 4 * (136 + 128)
    assert "128 keys in q8_0 = 136 B + 64 values in f16 = 128 B" in found.parts[1].arithmetic


@pytest.mark.parametrize(("settings", "cells"), [
    (LlamaSettings(8192), 1024), (LlamaSettings(8192, ubatch_tokens=128), 512), (LlamaSettings(512), 512),
    (LlamaSettings(8192, batch_tokens=200), 512), (LlamaSettings(8192, whole_windows=True), 8192),
    (LlamaSettings(8192, slots=2, unified=True), 1280),
])  # fmt: skip
def test_windows_keep_themselves_and_a_micro_batch(settings: LlamaSettings, cells: int) -> None:
    layers = (Layer("sliding_window", 64, 64, window_tokens=300),)
    assert size(predict(model(layers=layers), settings), "kv_cache") == cells * 256


def test_each_kind_of_layer_is_a_part_with_its_arithmetic() -> None:
    layers = (
        Layer("attention", 64, 64), Layer("sliding_window", 32, 32, window_tokens=100), Layer("mla", 576, 0),
        Layer("recurrent", state_values=1000, history_values=10), Layer("none"),
    )  # fmt: skip
    found = predict(model(layers=layers), LlamaSettings(2048, slots=2, unified=True))
    told = {part.arithmetic.partition(":")[0]: part.bytes for part in found.parts if part.what == "kv_cache"}
    assert told == {"attention": 2048 * 256, "sliding_window": 768 * 128, "mla": 2048 * 1152}
    assert size(found, "recurrent_state") == 1000 * 4 * 2
    assert any("1 layers, 1000 numbers × 4 B × 2 slots" in part.arithmetic for part in found.parts)


def test_without_flash_attention_values_are_as_wide_as_the_widest() -> None:
    layers = (Layer("attention", 64, 64), Layer("attention", 32, 32))
    assert size(predict(model(layers=layers), LlamaSettings(256)), "kv_cache") == 256 * 2 * 192
    found = predict(model(layers=layers), LlamaSettings(256, flash_attention=False))
    assert size(found, "kv_cache") == 256 * 2 * (64 + 64 + 32 + 64)
    assert "flash attention off" in found.missing[0]


def test_placement_on_a_device() -> None:
    """The output goes first, then the layers from the last; the table of a tied model stays on the host too."""
    found = predict(MODEL, LlamaSettings(1024, gpu_layers=3))
    assert size(found, "weights", place="device") == (100 + 200) + 180 + 120
    assert size(found, "weights") == 200 + 200 + 120
    kv = 1024 * (128 + 64) * 2
    assert (size(found, "kv_cache"), size(found, "kv_cache", place="device")) == (2 * kv, 2 * kv)
    off = predict(MODEL, LlamaSettings(1024, gpu_layers=3, cache_on_device=False))
    assert (size(off, "kv_cache"), size(off, "kv_cache", place="device")) == (4 * kv, 0)
    everything = predict(MODEL, LlamaSettings(1024, gpu_layers=99))
    assert (size(everything, "kv_cache"), size(everything, "weights")) == (0, 120)


def test_mapped_weights_can_be_dropped_and_read_again() -> None:
    assert predict(MODEL, LlamaSettings(256)).file_bytes == 1000
    copied = predict(MODEL, LlamaSettings(256, memory_mapped=False))
    assert copied.file_bytes == 0
    assert copied.must_have_bytes == predict(MODEL, LlamaSettings(256)).must_have_bytes + 1000


def test_checkpoints_only_grow_what_may_grow() -> None:
    layers = (Layer("recurrent", state_values=1000), Layer("sliding_window", 64, 64, window_tokens=100))
    found = predict(model(layers=layers), LlamaSettings(4096, slots=2, checkpoints=32))
    assert found.growth_bytes == 32 * 2 * (4000 + (100 + 512) * 256)
    without = predict(model(layers=layers), LlamaSettings(4096, slots=2))
    assert found.must_have_bytes == without.must_have_bytes
    assert predict(MODEL, LlamaSettings(4096, checkpoints=32)).growth_bytes == 0


@pytest.mark.parametrize(
    ("changes", "settings", "missing"),
    [
        ({"layers": None}, LlamaSettings(256), "the layers of llama are not known"),
        ({"context_tokens": None}, LlamaSettings(0), "names no context"),
        ({}, LlamaSettings(256, key_type="q9_z"), "q9_z/f16 cannot hold"),
        ({"layers": (Layer("attention", 40, 40),)}, LlamaSettings(256, key_type="q8_0"), "cannot hold"),
        (
            {"layers": (Layer("attention", 64, 64), Layer("sliding_window", 40, 40, window_tokens=9))},
            LlamaSettings(256, key_type="q8_0"),
            "cannot hold",
        ),
        ({"embedding_values": None}, LlamaSettings(256), "only the engine's plan"),
        ({"types": (TypeShare("Q4_K", 1, 500, 1000),)}, LlamaSettings(256), "repacks"),
    ],
)
def test_what_cannot_be_told_is_missing(changes: dict[str, Any], settings: LlamaSettings, missing: str) -> None:
    assert missing in " ".join(predict(model(**changes), settings).missing)


def test_settings_of_another_engine_are_refused() -> None:
    with pytest.raises(ValueError, match="MlxSettings do not fit a model in gguf"):
        predict(MODEL, MlxSettings(256))


@pytest.mark.parametrize(
    ("engine", "options", "expected"),
    [
        ("llama-server", {}, LlamaSettings(1000, 4, True, most_outputs=4, checkpoints=32)),
        (
            "llama-server",
            {"slots": "2", "kv": "q8_0"},
            LlamaSettings(2000, 2, False, "q8_0", "q8_0", most_outputs=2, checkpoints=32),
        ),
        (
            "llama-server",
            {"swa-full": "true", "ctx": "64", "slots": "1", "ctx_checkpoints": "0"},
            LlamaSettings(64, whole_windows=True, most_outputs=1),
        ),
        ("llama-cpp", {}, LlamaSettings(1000, batch_tokens=512, whole_windows=True, flash_attention=False)),
        (
            "llama-cpp",
            {"kv": "q4_0", "swa_full": "false", "ubatch": "64"},
            LlamaSettings(1000, 1, False, "q4_0", "q4_0", 512, 64),
        ),
    ],
)
def test_settings_of_a_target(engine: str, options: dict[str, str], expected: LlamaSettings) -> None:
    assert settings_of(MODEL, engine, options) == expected
    placed = settings_of(MODEL, engine, options | {"gpu_layers": "7"}, has_device=True)
    assert placed == msgspec.structs.replace(expected, gpu_layers=7)


@given(
    st.integers(1, 200_000), st.integers(1, 16), st.booleans(), st.sampled_from(CACHE_TYPES), st.integers(1, 4096),
    st.integers(0, 6),
)  # fmt: skip
def test_more_context_never_takes_less(
    context: int, slots: int, unified: bool, kv: str, ubatch: int, gpu_layers: int
) -> None:
    layers = (Layer("attention", 64, 64), Layer("sliding_window", 64, 64, window_tokens=100), Layer("mla", 576))
    given_model = model(layers=layers, layer_bytes=(1, 2, 3))
    less, more = (
        predict(given_model, LlamaSettings(
            tokens, slots, unified, kv, kv, ubatch_tokens=ubatch, gpu_layers=gpu_layers
        )) for tokens in (context, context + 1000)
    )  # fmt: skip
    assert size(less, "kv_cache") <= size(more, "kv_cache")
    assert size(less, "kv_cache", place="device") <= size(more, "kv_cache", place="device")
    whole = predict(given_model, LlamaSettings(context, slots, unified, kv, kv, ubatch_tokens=ubatch))
    assert size(less, "kv_cache") + size(less, "kv_cache", place="device") == size(whole, "kv_cache")


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    pytest.importorskip("llama_cpp")
    planner = open_planner("llama-server")
    yield planner
    planner.close()


OPTIONS: tuple[dict[str, str], ...] = (
    {"ctx": "4096", "slots": "1"},
    {"ctx": "10000", "slots": "3", "ubatch": "128"},
    {"ctx": "40000"},
    {"ctx": "8192", "slots": "4", "kv_unified": "true", "swa_full": "true"},
    {"ctx": "32768", "slots": "2", "kv": "q8_0"},
    {"ctx": "16384", "flash_attn": "off"},
)
SETTINGS_OF_LARGE = (OPTIONS[1], OPTIONS[4], OPTIONS[5])
_PLANNED = re.compile(r"breakdown: CPU\S* model = (\d+) context = (\d+) compute = (\d+) bytes")


@pytest.mark.engine
@pytest.mark.parametrize(
    "make",
    [lambda _: TINY, write_sliding_window, write_hybrid, write_swa, write_mamba, *sparse_models.MODELS],
    ids=lambda make: make.__name__,
)
def test_the_engine_plans_the_same_bytes(planner: Planner, make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Weights, caches and states to the byte, the logits to 0.01 MiB, the working memory (a table) to 10 %."""
    path = make(tmp_path / "m.gguf")
    read = read_model(path)
    for options in SETTINGS_OF_LARGE if make in sparse_models.MODELS else OPTIONS:
        if make is write_swa and "kv" in options:
            continue  # heads of 16 numbers do not fill a block
        log = planner.plan(Target("llama-server", str(path), options=options))
        planned = [tuple(map(int, found)) for found in _PLANNED.findall(log)]
        found = predict(read, settings_of(read, "llama-server", options))
        assert size(found, "weights") == sum(weights for weights, _, _ in planned), options
        assert size(found, "kv_cache", "recurrent_state") == sum(context for _, context, _ in planned), options
        logits = re.search(r"output buffer size = +([\d.]+) MiB", log)
        outputs = sum(part.bytes for part in found.parts if part.what == "compute" and part.basis == "formula")
        assert logits is not None
        assert outputs / MIB == pytest.approx(float(logits[1]), abs=0.01), options
        about = sum(part.bytes for part in found.parts if part.what == "compute" and part.basis == "table")
        if about:
            assert about == pytest.approx(sum(compute for _, _, compute in planned), rel=0.1), options
