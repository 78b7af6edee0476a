"""Our arithmetic against sizes that llama.cpp printed on other machines, for models that no machine of ours holds.

The data names the source of each figure. Gemma's are checked once more against the engine's own plan, in
`tests/backends/test_llama_planner.py`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.fit.formula import LlamaSettings, predict
from profiler.model_file.base import Layer, LayerKind, ModelFile

FIGURES: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("public_figures.toml").read_text())["figure"]
MIB = 1 << 20
ROUNDING_MIB = 0.01


def layers(figure: dict[str, Any]) -> tuple[Layer, ...]:
    found: list[Layer] = []
    for count, keys, values, state, window in figure["layers"]:
        kind: LayerKind = "recurrent" if state else "attention" if values else "mla"
        layer = Layer("sliding_window" if window else kind, keys, values, state, window or None)
        found += [layer] * count
    return tuple(found)


@pytest.mark.parametrize("figure", FIGURES, ids=[figure["model"] for figure in FIGURES])
def test_caches_are_as_large_as_the_engine_printed(figure: dict[str, Any]) -> None:
    model = ModelFile(
        path=Path("m.gguf"),
        files=(Path("m.gguf"),),
        container="gguf",
        architecture=None,
        name=figure["model"],
        label=None,
        types=(),
        tensor_bytes=0,
        parameters=1,
        active_bytes=None,
        active_parameters=None,
        layers=layers(figure),
        context_tokens=None,
        vocabulary_tokens=None,
        embedding_values=None,
    )
    parts = predict(model, msgspec.convert(figure["settings"], LlamaSettings)).parts
    kv_mib = sum(part.bytes for part in parts if part.what == "kv_cache") / MIB
    state_mib = sum(part.bytes for part in parts if part.what == "recurrent_state") / MIB
    assert kv_mib == pytest.approx(figure.get("kv_mib", 0), abs=ROUNDING_MIB)
    assert state_mib == pytest.approx(figure.get("state_mib", 0), abs=ROUNDING_MIB)


def test_every_figure_names_its_source() -> None:
    assert all(figure["source"].startswith("https://") for figure in FIGURES)
