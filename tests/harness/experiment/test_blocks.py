"""The order of an experiment: complete, balanced, and decided by its seed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.experiment.blocks import cells_of
from tests.harness.experiment.plans import plan


@given(
    arms=st.integers(2, 4),
    tasks=st.integers(1, 7),
    blocks=st.integers(1, 4),
    seed=st.integers(0, 1000),
    cache=st.sampled_from(["cold", "warm-within", "carry"]),
)
def test_every_block_has_every_arm_on_every_task_once(
    arms: int, tasks: int, blocks: int, seed: int, cache: str
) -> None:
    made = plan(arms, tasks, blocks=blocks, seed=seed, cache=cache)
    cells = cells_of(made)
    wanted = {
        (block, arm.name, task.name) for block in range(1, blocks + 1) for arm in made.arms for task in made.tasks
    }
    assert len(cells) == made.dispatches == len(wanted)
    assert {cell.key for cell in cells} == wanted
    assert [cell.order for cell in cells] == list(range(len(cells)))
    assert all(a.block <= b.block for a, b in pairwise(cells))


@given(tasks=st.integers(1, 8), blocks=st.integers(1, 4), seed=st.integers(0, 1000), arms=st.integers(2, 4))
def test_each_arm_is_as_often_at_each_place(tasks: int, blocks: int, seed: int, arms: int) -> None:
    cells = cells_of(plan(arms, tasks, blocks=blocks, seed=seed))
    for place in range(arms):
        held = Counter(cell.arm for cell in cells[place::arms])
        assert max(held.values()) - min(held[chr(ord("A") + arm)] for arm in range(arms)) <= 1


def test_the_arms_of_a_task_follow_each_other() -> None:
    cells = cells_of(plan(blocks=3, seed=5))
    for first, second in zip(cells[::2], cells[1::2], strict=True):
        assert (first.task, first.block) == (second.task, second.block)
        assert first.arm != second.arm
        assert first.fresh
        assert second.fresh


def test_the_seed_decides_the_order_and_nothing_else_does() -> None:
    assert cells_of(plan(seed=1)) == cells_of(plan(seed=1))
    orders = {tuple(cell.key for cell in cells_of(plan(seed=seed))) for seed in range(20)}
    assert len(orders) == 20


def test_both_orders_of_a_pair_occur_by_chance_and_not_by_turns() -> None:
    firsts = ["".join(cell.arm for cell in cells_of(plan(seed=seed, blocks=2))[::2]) for seed in range(30)]
    assert all(first.count("A") == 6 for first in firsts)
    assert any("AA" in first or "BB" in first for first in firsts)


@pytest.mark.parametrize("seed", range(5))
def test_carried_caches_are_those_of_the_same_arm_and_all_arms_meet_the_tasks_in_one_order(seed: int) -> None:
    cells = cells_of(plan(3, 4, blocks=2, seed=seed, cache="carry"))
    stretches = [cells[at : at + 4] for at in range(0, len(cells), 4)]
    assert all(len({cell.arm for cell in stretch}) == 1 for stretch in stretches)
    assert all([cell.fresh for cell in stretch] == [True, False, False, False] for stretch in stretches)
    for block in (stretches[:3], stretches[3:]):
        assert len({tuple(cell.task for cell in stretch) for stretch in block}) == 1
