"""Predicted against measured memory on real engines: a few rows of `benchmarks.residency_prediction`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.residency_prediction import WORST_LIMIT, Bench, Setting

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with closing(Bench(tmp_path_factory.mktemp("models"))) as opened:
        yield opened


@pytest.mark.parametrize("engine", ["llama-server", "llama-cpp"])
def test_what_a_load_takes_is_predicted(engine: str, bench: Bench) -> None:
    pytest.importorskip({"llama-server": "xllamacpp", "llama-cpp": "llama_cpp"}[engine])
    row = bench.row(Setting("tiny-q4_k_m", "ctx=2048"), engine)
    assert abs(row.error) <= WORST_LIMIT
    assert row.parts_bytes["weights"] > 1 << 20, "repacked weights must be held"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "engine"),
    [
        (Setting("heavy-q4_0", "ctx=2048&flash_attn=on", fill=0.25), "llama-cpp"),
        (Setting("windowed-f16", "ctx=4096"), "llama-server"),
        (Setting("recurrent-f16", "ctx=2048&slots=4"), "llama-server"),
    ],
)
def test_what_larger_models_take_is_predicted(setting: Setting, engine: str, bench: Bench) -> None:
    row = bench.row(setting, engine)
    assert abs(row.error) <= WORST_LIMIT
    assert row.checkpoints == 0 or engine == "llama-server"


def test_models_are_written_when_they_are_needed(tmp_path: Path) -> None:
    Bench(tmp_path).close()
    assert not list(tmp_path.iterdir())
