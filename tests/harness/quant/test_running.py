"""Going through the sittings: each step once, failures put aside, nothing repeated."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import EngineDied, EngineError, LaunchError
from harness.quant.plan import Step, steps_of
from harness.quant.running import Performs, Progress, go_through, still_to_do
from harness.quant.steps import StepDone
from profiler.quality.errors import QualityError
from tests.harness.quant.comparisons import plan

STEPS = steps_of(plan())


class Rig:
    """Does steps without an engine, and fails where it is told to."""

    def __init__(self, fails: dict[tuple[str, str], Exception] | None = None, stop_after: int | None = None) -> None:
        self.fails = fails or {}
        self.stop_after = stop_after
        self.done: list[StepDone] = []
        self.told: list[Progress] = []
        self.loads: list[str] = []

    @contextmanager
    def sit(self, steps: tuple[Step, ...]) -> Generator[Performs]:
        name = steps[0].candidate
        self.loads.append(name)
        if (error := self.fails.get((name, "open"))) is not None:
            raise error
        yield self.perform

    def perform(self, step: Step) -> StepDone:
        if (error := self.fails.get((step.candidate, step.kind))) is not None:
            raise error
        return StepDone(step, None, 1.0)

    def store(self, done: StepDone) -> None:
        self.done.append(done)
        if len(self.done) == self.stop_after:
            raise KeyboardInterrupt

    def run(self, todo: tuple[Step, ...] = STEPS) -> None:
        go_through(todo, self.sit, self.store, failed=self.failure, on_done=self.told.append)

    @staticmethod
    def failure(step: Step, error: EngineError | QualityError) -> StepDone:
        return StepDone(step, None, 0.0, failed=str(error))


def test_every_step_is_done_once_in_order() -> None:
    rig = Rig()
    rig.run()
    assert [one.step for one in rig.done] == list(STEPS)
    assert len(rig.loads) == 2 * 3 + 3
    assert [len(one.left) for one in rig.told] == list(range(len(STEPS) - 1, -1, -1))


def test_a_candidate_that_does_not_load_is_a_result_and_the_others_go_on() -> None:
    rig = Rig({("Q8_0", "open"): LaunchError("it does not fit")})
    rig.run()
    mine = [one for one in rig.done if one.step.candidate == "Q8_0"]
    assert [(one.step.kind, one.failed) for one in mine] == [
        ("load", "it does not fit"),
        ("quality", "it does not fit"),
    ]
    others = [one for one in rig.done if one.step.candidate != "Q8_0"]
    assert len(others) == sum(step.candidate != "Q8_0" for step in STEPS)
    assert rig.loads.count("Q8_0") == 2, "one try of the engine, one of what gives logits"
    assert not still_to_do(STEPS, rig.done)


def test_one_that_dies_keeps_what_it_did() -> None:
    rig = Rig({("Q8_0", "task"): EngineDied("killed")})
    rig.run()
    mine = [one for one in rig.done if one.step.candidate == "Q8_0"]
    assert [one.step.kind for one in mine if one.failed is None] == ["load", "rates", "calls", "quality"]
    assert [one.step.kind for one in mine if one.failed] == ["task"]
    assert not rig.told[-1].left


def test_a_quality_that_cannot_be_told_puts_nothing_aside() -> None:
    rig = Rig({("Q8_0", "quality"): QualityError("other tokens")})
    rig.run()
    assert [one.failed for one in rig.done if one.failed] == ["other tokens"]
    assert len(rig.done) == len(STEPS)


@given(st.integers(1, len(STEPS) - 1))
def test_interrupted_anywhere_and_resumed_nothing_is_repeated(stop_after: int) -> None:
    rig = Rig(stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        rig.run()
    again = Rig()
    again.run(still_to_do(STEPS, rig.done))
    assert [one.step for one in (*rig.done, *again.done)] == list(STEPS)


def test_what_was_given_up_is_not_tried_again() -> None:
    failed = next(step for step in STEPS if step.candidate == "Q8_0" and step.kind == "rates")
    left = still_to_do(STEPS, [StepDone(failed, None, 0.0, failed="died")])
    assert {step.kind for step in left if step.candidate == "Q8_0"} == {"quality"}
