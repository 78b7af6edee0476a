"""What is read from the log of a plan."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from profiler.fit.engine_plan import EnginePlan, PlannedMemory, engine_plan
from tests.profiler.fit.plan_logs import HYBRID, ON_GPU, WINDOWED

MIB = 1 << 20


def plan_of(log: str) -> EnginePlan:
    plan = engine_plan(log)
    assert plan is not None
    return plan


def test_caches_with_and_without_a_window() -> None:
    plan = plan_of(WINDOWED)
    assert [(c.cells, c.layers, c.sequences, c.streams, c.windowed) for c in plan.caches] == [
        (4096, 1, 4, 1, False),
        (768, 3, 4, 1, True),
    ]
    assert [c.bytes for c in plan.caches] == [MIB, round(0.56 * MIB)]
    assert (plan.window_tokens, plan.ubatch_tokens, plan.context_tokens, plan.sequences) == (64, 512, 4096, 4)


def test_memories_hold_the_logits_too() -> None:
    assert plan_of(WINDOWED).memories == (PlannedMemory("CPU", 723456, 1638400, 6311968 + MIB // 2),)


def test_states_are_told_apart_from_caches() -> None:
    plan = plan_of(HYBRID)
    assert (plan.state_bytes, plan.caches[0].bytes) == (MIB // 2, 2 * MIB)


def test_of_a_list_for_all_layers_the_largest_counts() -> None:
    assert (plan_of(HYBRID).heads, plan_of(HYBRID).widest_values) == (2, 256)


def test_flash_attention() -> None:
    assert [plan_of(log).flash_attention for log in (WINDOWED, HYBRID, ON_GPU)] == [True, False, True]


def test_memories_of_a_gpu_are_not_the_hosts() -> None:
    assert [(m.name, m.on_host) for m in plan_of(ON_GPU).memories] == [
        ("CUDA0", False),
        ("CPU_REPACK", True),
        ("CUDA_Host", True),
    ]


def test_without_the_breakdown_weights_are_not_told() -> None:
    plan = plan_of("\n".join(line for line in WINDOWED.splitlines() if "breakdown" not in line))
    assert not plan.tells_weights
    assert plan.memories == (PlannedMemory("CPU", None, None, round(6.02 * MIB) + MIB // 2),)


@given(st.text())
def test_other_text_is_no_plan(text: str) -> None:
    assert engine_plan(text) is None
