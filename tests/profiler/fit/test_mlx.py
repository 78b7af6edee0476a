"""mlx-lm's memory by formula: hand-made sums, and the caches of the real library after the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.fit.base import What
from profiler.fit.formula import MlxSettings, predict
from profiler.fit.target_settings import settings_of
from profiler.model_file import read_model
from profiler.model_file.base import Layer, ModelFile, TypeShare
from tests.backends.mlx_models import write_dense, write_hybrid, write_sliding_window

MODEL = ModelFile(
    path=Path("m"), files=(), container="mlx", architecture="qwen3", name=None, label=None,
    types=(TypeShare("affine 4-bit g64", 1, 2000, 1000), TypeShare("BF16", 1, 10, 20)), tensor_bytes=1020,
    parameters=2010, active_bytes=None, active_parameters=None, layers=(Layer("attention", 128, 64),) * 2,
    context_tokens=100_000, vocabulary_tokens=100, embedding_values=32,
)  # fmt: skip


def size(model: ModelFile, settings: MlxSettings, *what: What) -> int:
    return sum(part.bytes for part in predict(model, settings).parts if part.what in what)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (MlxSettings(1), 2 * 256 * 192 * 2),
        (MlxSettings(257, sequences=3), 3 * 2 * 512 * 192 * 2),
        (MlxSettings(256, kv_bits=8), 2 * 256 * (192 + 2 * 3 * 2)),
        (MlxSettings(256, kv_bits=4, kv_group_size=32), 2 * 256 * (96 + 2 * 6 * 2)),
        (MlxSettings(50_000, most_tokens=1000), 2 * (1000 + 2047) * 192 * 2),
    ],
)
def test_caches_grow_in_steps(settings: MlxSettings, expected: int) -> None:
    assert size(MODEL, settings, "kv_cache") == expected


def test_windows_hold_a_step_of_prefill_more() -> None:
    model = msgspec.structs.replace(MODEL, layers=(Layer("sliding_window", 64, 64, window_tokens=100),))
    assert size(model, MlxSettings(5000, prefill_tokens=512), "kv_cache") == (100 + 511) * 256
    assert size(model, MlxSettings(50), "kv_cache") == 50 * 256


def test_states_and_what_cannot_be_told() -> None:
    model = msgspec.structs.replace(MODEL, layers=(Layer("recurrent", state_values=110, history_values=10),))
    assert size(model, MlxSettings(1, sequences=2), "recurrent_state") == (10 * 2 + 100 * 4) * 2
    found = predict(msgspec.structs.replace(MODEL, layers=None), MlxSettings(1))
    assert "the layers of qwen3 are not known" in found.missing[1]
    assert "only a run tells" in found.missing[0]
    assert predict(MODEL, MlxSettings(1, unified=False)).device_bytes > found.device_bytes


def test_settings_of_a_target() -> None:
    settings = settings_of(MODEL, "mlx", {"ctx": "1000", "kv_bits": "4", "kv_group": "32", "prefill_step": "128"})
    assert settings == MlxSettings(1000, kv_bits=4, kv_group_size=32, prefill_tokens=128)
    assert settings_of(MODEL, "mlx", {}) == MlxSettings(32768)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("write", [write_dense, write_sliding_window, write_hybrid])
def test_the_caches_of_the_library(write: Callable[[Path], Path], tmp_path: Path) -> None:
    """A prompt in one step, as prefill does it: all caches together to the byte."""
    mx: Any = pytest.importorskip("mlx.core")
    library: Any = pytest.importorskip("mlx_lm.utils")
    caches: Any = pytest.importorskip("mlx_lm.models.cache")
    folder = write(tmp_path / "m")
    model = library.load_model(folder)[0]
    for tokens in (40, 300):
        cache = caches.make_prompt_cache(model)
        mx.eval(model(mx.array([[1] * tokens]), cache=cache))
        held = sum(layer.nbytes for layer in cache)
        found = size(read_model(folder), MlxSettings(tokens, prefill_tokens=tokens), "kv_cache", "recurrent_state")
        assert found == held
