"""How plan, formula and table become one prediction."""

from __future__ import annotations

import msgspec
import pytest

from profiler.fit.base import MemoryPrediction, Part, What
from profiler.fit.engine_plan import EnginePlan, engine_plan
from profiler.fit.prediction import Runtime, predict_memory, runtime_of
from profiler.model_file.base import TypeShare
from tests.profiler.bare_model import BARE
from tests.profiler.fit.plan_logs import HYBRID, ON_GPU, WINDOWED

MIB = 1 << 20
MODEL = msgspec.structs.replace(BARE, types=(TypeShare("Q4_K", 1, 1, 1),), tensor_bytes=5_000_000)
RUNTIME = Runtime(20 * MIB, "measured")
FORMULA = MemoryPrediction(
    (
        Part("weights", 5_000_000, "host", "formula", "tensors", reclaimable=True),
        Part("kv_cache", 7 * MIB, "host", "formula", "cells"),
        Part("runtime", 30 * MIB, "host", "table", "usual"),
        Part("runtime", 400 * MIB, "device", "table", "usual"),
    ),
    ("compute",),
)


def plan_of(log: str) -> EnginePlan:
    plan = engine_plan(log)
    assert plan is not None
    return plan


def parts(prediction: MemoryPrediction, what: What, basis: str = "engine plan") -> list[tuple[str, int]]:
    return [(p.place, p.bytes) for p in prediction.parts if p.what == what and p.basis == basis]


def test_the_plan_is_taken_before_the_formula() -> None:
    prediction = predict_memory(MODEL, plan=plan_of(WINDOWED), formula=FORMULA, runtime=RUNTIME)
    assert parts(prediction, "kv_cache") == [("host", 1638400)]
    assert parts(prediction, "weights") == [("host", 723456)]
    assert not any(p.basis == "formula" and p.what == "weights" for p in prediction.parts)
    assert prediction.missing == ()


def test_the_formula_fills_what_the_plan_does_not_tell() -> None:
    plan = plan_of("\n".join(line for line in WINDOWED.splitlines() if "breakdown" not in line))
    prediction = predict_memory(MODEL, plan=plan, formula=FORMULA, runtime=RUNTIME)
    assert parts(prediction, "weights", "formula") == [("host", 5_000_000)]
    assert parts(prediction, "kv_cache") == [("host", MIB + round(0.56 * MIB))]


def test_without_a_plan_the_formula_and_what_it_misses_stand() -> None:
    prediction = predict_memory(MODEL, formula=FORMULA)
    assert prediction.must_have_bytes == 37 * MIB
    assert prediction.missing == ("compute",)


def test_with_nothing_but_the_file_the_rest_is_missing() -> None:
    prediction = predict_memory(MODEL)
    assert (prediction.must_have_bytes, prediction.file_bytes) == (0, 5_000_000)
    assert len(prediction.missing) == 3


def test_a_measured_runtime_replaces_the_tables_on_the_host_alone() -> None:
    prediction = predict_memory(MODEL, formula=FORMULA, runtime=RUNTIME)
    assert parts(prediction, "runtime", "table") == [("host", 20 * MIB), ("device", 400 * MIB)]


def test_states_and_cache_share_a_memory() -> None:
    prediction = predict_memory(MODEL, plan=plan_of(HYBRID))
    assert parts(prediction, "recurrent_state") == [("host", MIB // 2)]
    assert parts(prediction, "kv_cache") == [("host", 2 * MIB)]


def test_repacked_weights_are_held_and_their_pages_lie_idle() -> None:
    weights = [p for p in predict_memory(MODEL, plan=plan_of(ON_GPU)).parts if p.what == "weights"]
    assert [(p.place, p.bytes, p.reclaimable, p.idle) for p in weights] == [
        ("device", 4_000_000_000, False, False),
        ("host", 4_000_000_000, True, True),
        ("host", 100_000_000, False, False),
        ("host", 100_000_000, True, True),
        ("host", 50_000_000, True, False),
    ]


def test_a_gpu_takes_what_is_not_told() -> None:
    assert any("GPU" in words for words in predict_memory(MODEL, plan=plan_of(ON_GPU), runtime=RUNTIME).missing)


@pytest.mark.parametrize(
    ("log", "held", "expected"),
    [
        (WINDOWED, "Q4_K", round(512 * 128 * 292 / 256)),
        (WINDOWED, "F16", 512 * 128 * 2),
        (WINDOWED, "F32", 0),
        (HYBRID, "Q4_K", 512 * 2 * 4096 * 2),  # without flash attention: all heads over the whole cache
        (ON_GPU, "Q4_K", 0),
    ],
)
def test_the_work_buffer_of_the_processor(log: str, held: str, expected: int) -> None:
    model = msgspec.structs.replace(MODEL, types=(TypeShare(held, 1, 1, 1),))
    found = parts(predict_memory(model, plan=plan_of(log)), "compute", "formula")
    assert sum(size for _, size in found) == expected


def test_a_vocabulary_takes_room_in_the_program() -> None:
    prediction = predict_memory(MODEL, plan=plan_of(WINDOWED), formula=FORMULA, runtime=RUNTIME)
    assert parts(prediction, "runtime", "formula") == [("host", 1000 * 365 + 2 * 0x110000)]
    assert not parts(predict_memory(MODEL, plan=plan_of(HYBRID)), "runtime", "formula")


def test_notes_on_cells_are_counted() -> None:
    found = parts(predict_memory(MODEL, plan=plan_of(WINDOWED)), "kv_cache", "formula")
    assert found == [("host", (4096 + 768) * 144)]


def test_a_runtime_is_what_a_measured_load_had_besides() -> None:
    predicted = predict_memory(MODEL, plan=plan_of(WINDOWED))
    runtime = runtime_of(predicted, predicted.must_have_bytes + 17 * MIB, "m")
    again = predict_memory(MODEL, plan=plan_of(WINDOWED), runtime=runtime)
    assert again.must_have_bytes == predicted.must_have_bytes + 17 * MIB


def test_what_may_grow_is_not_held() -> None:
    growth = (Part("prompt_cache", 8192 * MIB, "host", "table", "", at_most=True),)
    prediction = predict_memory(MODEL, plan=plan_of(WINDOWED), growth=growth, unlimited=("x",))
    assert prediction.growth_bytes == 8192 * MIB
    assert prediction.must_have_bytes < 20 * MIB
    assert prediction.missing[0] == "x"
