"""The order of a comparison's steps: every candidate once in every round, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from harness.quant.candidates import Choice
from harness.quant.plan import QuantPlan, Step, sittings_of, steps_of
from tests.harness.quant.comparisons import AMOUNT, candidate, choice, plan


def planned(rounds: int = 2, seed: int = 0, **amount: object) -> QuantPlan:
    return plan(amount=msgspec.structs.replace(AMOUNT, rounds=rounds, **amount), seed=seed)


@given(st.integers(1, 6), st.integers(0, 50))
def test_every_step_once_each_candidate_in_every_round(rounds: int, seed: int) -> None:
    steps = steps_of(planned(rounds, seed))
    assert [step.order for step in steps] == list(range(len(steps)))
    assert max(Counter(step.key for step in steps).values()) == 1
    loads = Counter((step.round, step.candidate) for step in steps if step.kind == "load")
    assert len(loads) == rounds * 3
    assert steps_of(planned(rounds, seed)) == steps


@given(st.integers(2, 6), st.integers(0, 50))
def test_a_sitting_is_one_load_of_one_candidate(rounds: int, seed: int) -> None:
    steps = steps_of(planned(rounds, seed))
    sittings = sittings_of(steps)
    assert [step for sitting in sittings for step in sitting] == list(steps)
    for sitting in sittings:
        assert len({(step.round, step.candidate) for step in sitting}) == 1
        assert (sitting[0].kind == "load") != (sitting[0].kind == "quality")


def test_the_order_of_candidates_changes_with_the_seed() -> None:
    orders = {tuple(step.candidate for step in steps_of(planned(1, seed)) if step.kind == "load") for seed in range(20)}
    assert len(orders) == 6


def test_all_candidates_do_the_tasks_of_a_round_in_one_order_in_the_rounds_that_have_them() -> None:
    steps = steps_of(planned(3, task_rounds=2))

    def tasks(round_: int, name: str) -> list[str | None]:
        return [step.task for step in steps if step.kind == "task" and (step.round, step.candidate) == (round_, name)]

    assert tasks(1, "F16") == tasks(1, "Q8_0") == tasks(1, "Q4_K_M")
    assert len(tasks(2, "F16")) == 2
    assert not tasks(3, "F16")


def test_quality_comes_last_and_the_reference_first() -> None:
    kinds = [(step.kind, step.candidate) for step in steps_of(planned())][-3:]
    assert kinds[0] == ("quality", "F16")
    assert {kind for kind, _ in kinds} == {"quality"}


def test_nothing_is_planned_for_what_was_left_out() -> None:
    kinds = Counter(step.kind for step in steps_of(planned(chunks=0, sessions=(), tasks=(), positions=0)))
    assert kinds == {"load": 6, "rates": 6}


def test_a_reference_that_is_no_candidate_is_asked_for_its_calls_and_its_logits_alone() -> None:
    apart = Choice(choice().candidates[1:], candidate("F16", 16.0))
    of = plan(apart)
    assert of.measures_reference_apart
    kinds = [step.kind for step in steps_of(of) if step.candidate == "F16"]
    assert kinds == ["calls", "quality"]


def test_a_step_is_told_by_what_it_is_not_by_its_place() -> None:
    assert Step(3, 1, "F16", "task", "a").key == Step(9, 1, "F16", "task", "a").key
