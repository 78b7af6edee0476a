"""Calibrating: which models are taken, what their rates become, and that one that fails is told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from backends.base import Engine, LaunchError, Target
from backends.scripted import open_engine as open_scripted
from harness.quant.calibrating import calibrate, chosen, target_of, worth_calibrating
from harness.quant.depths import DepthPlan
from profiler.model_file import read_model
from profiler.model_file.base import ModelFile
from tests.profiler.speed.models import model

GB = 1_000_000_000
TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny"
PLAN = DepthPlan((0, 1000), 256, 16)


def sized(name: str, size_bytes: int, type_name: str = "Q4_K", experts: int | None = None) -> ModelFile:
    return msgspec.structs.replace(
        model(type=type_name, active_bytes=size_bytes, experts=experts), path=Path(f"{name}.gguf")
    )


def test_of_each_type_the_largest_that_fits_and_a_much_smaller_one() -> None:
    found = [
        sized("too-large", 9 * GB),
        sized("large", 4 * GB),
        sized("middle", 3 * GB),
        sized("small", GB),
        sized("other", 2 * GB, "Q8_0"),
        sized("as-large", 2 * GB - 1, "Q8_0"),
        sized("experts", GB // 2, experts=64),
    ]
    assert [one.path.stem for one in chosen(found, 16 * GB)] == ["large", "other", "small", "experts"]
    assert chosen([sized("unknown", 0)], 16 * GB) == ()


def test_the_rates_of_a_machine_come_out_of_what_its_engine_shows() -> None:
    announced: list[tuple[int, int, str]] = []

    def opened(target: Target) -> Engine:
        return open_scripted(Target("scripted", options={"max_context": "8192"}))

    rates, shown = calibrate(
        [read_model(TINY / "tiny-q8_0.gguf")],
        measured_on="2026-11-20",
        on_model=lambda number, of, one: announced.append((number, of, one.path.name)),
        open_one=opened,
        plan=PLAN,
    )
    assert announced == [(1, 1, "tiny-q8_0.gguf")]
    (rate,), (one,) = rates, shown
    assert [(at.depth_tokens, at.decode_tokens_per_s) for at in one.rates] == [(0, (100.0,) * 2), (1000, (100.0,) * 2)]
    active = one.model.active_bytes
    assert active is not None
    assert rate.weights_gb_per_s == pytest.approx(active * 100 / 1e9, rel=1e-6)
    assert (rate.type, rate.kv_gb_per_s, rate.measured_on, rate.engine) == ("Q8_0", None, "2026-11-20", one.engine)
    assert not worth_calibrating(rates), "a model of 3.5 MB says nothing of those that are chosen from"


def test_a_model_that_fails_is_told_and_left_out() -> None:
    def failing(target: Target) -> Engine:
        raise LaunchError("no room")

    rates, (one,) = calibrate([read_model(TINY / "tiny-q8_0.gguf")], measured_on="2026-11-20", open_one=failing)
    assert rates == ()
    assert one.failed == "no room"


def test_the_engine_is_the_one_that_agents_would_use() -> None:
    target = target_of(read_model(TINY / "tiny-q8_0.gguf"))
    assert target.model is not None
    assert target.model.endswith("tiny-q8_0.gguf")
    assert (target.engine in {"llama-server", "llama-cpp"}, target.options["ctx"]) == (True, "2048")
