"""How much is measured by default: what fits into the budget; and what was typed goes before it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.experiment.plan import PlanError
from harness.quant.base import Wanted
from harness.quant.cost import AMOUNTS, BUDGET_S, default_tasks, fitting_amount, speed_of
from harness.quant.plan import QuantPlan, steps_of
from harness.quant.planning import (
    QuantAsked,
    choice_of,
    costs_of,
    duration_of,
    planned,
    same_files,
    sessions_of_plan,
    size_of,
)
from harness.run_sessions import demo_sessions
from harness.tasks.registry import find_task
from tests.harness.quant import made_up
from tests.harness.quant.comparisons import candidate, choice, model, plan

ASKED = QuantAsked(files=(Path("x"),))
WANTED = Wanted(32768)


def default_plan(asked: QuantAsked = ASKED, wanted: Wanted = WANTED, decode: float | None = None) -> QuantPlan:
    of = choice()
    predicted = {one.name: made_up.predicted(one.model.tensor_bytes, decode) for one in of.all} if decode else {}
    return planned(asked, of, wanted, predicted, (), scores=True)


def test_a_small_model_is_measured_within_the_budget_and_a_large_one_as_little_as_can_be() -> None:
    fast = default_plan(decode=1000.0)
    costs = costs_of(fast, {}, sessions_of_plan(fast, ()))
    assert costs.total_s(steps_of(fast)) > 0
    slow = default_plan()
    assert slow.amount.rounds == AMOUNTS[-1].rounds
    assert slow.amount.tasks == AMOUNTS[-1].tasks
    assert len(fast.amount.tasks) >= len(slow.amount.tasks)


def test_the_bundled_quants_fit_into_two_minutes() -> None:
    tiny = Path(__file__).parents[3] / "profiles" / "models" / "tiny"
    asked = QuantAsked(files=(tiny,))
    of, wanted = choice_of(asked)
    made = planned(asked, of, wanted, {}, (), scores=True)
    costs = costs_of(made, {}, sessions_of_plan(made, ()))
    assert costs.total_s(steps_of(made)) <= BUDGET_S <= 120
    assert made.amount.chunks
    assert made.amount.sessions


def test_a_smaller_budget_measures_less_and_a_larger_one_more() -> None:
    def steps(budget: str | None) -> int:
        return len(steps_of(default_plan(QuantAsked(files=(Path("x"),), budget=budget), decode=300.0)))

    assert steps("30s") <= steps(None) <= steps("1h")
    assert steps("30s") < steps("1h")


@pytest.mark.parametrize(
    ("text", "expected_s"), [("60s", 60), ("60", 60), ("10m", 600), ("1.5 h", 5400), ("2min", 120)]
)
def test_a_duration_as_it_is_typed(text: str, expected_s: float) -> None:
    assert duration_of(text) == expected_s


def test_what_was_typed_goes_before_the_budget() -> None:
    made = default_plan(QuantAsked(files=(Path("x"),), repeats=7, tasks="toolbench:2,levels"))
    assert (made.amount.rounds, made.amount.task_rounds) == (7, 7)
    assert len(made.amount.tasks) > 2
    assert not default_plan(QuantAsked(files=(Path("x"),), tasks="none")).amount.tasks


def test_what_does_not_fit_the_context_is_left_out() -> None:
    sessions = {one.name: one for one in demo_sessions()}
    assert fitting_amount(AMOUNTS[0], Wanted(32768), sessions).sessions == AMOUNTS[0].sessions
    small = fitting_amount(AMOUNTS[0], Wanted(2048), sessions)
    assert small.sessions == ()
    assert small.depths.depths_tokens == (0,)


def test_the_default_tasks_are_there() -> None:
    assert len(set(default_tasks(20))) == 20
    for name in default_tasks(25):
        assert find_task(name).name == name


def test_a_calibrated_speed_goes_before_a_guess() -> None:
    one = candidate("Q8_0", 8.5)
    guess = speed_of(one, None)
    known = speed_of(one, made_up.predicted(one.model.tensor_bytes, 18.0))
    assert known.decode_per_s == pytest.approx(18.0 * 1.3)
    assert known.prefill_per_s == 420.0
    assert guess.decode_per_s < known.decode_per_s


@pytest.mark.parametrize(
    ("text", "size"), [("20G", 20 << 30), ("512M", 512 << 20), ("1.5 GiB", 3 << 29), ("4096", 4096)]
)
def test_sizes_as_they_are_typed(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "lots", "0G", "-3G", "20 gallons"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(PlanError, match="no size of memory"):
        size_of(text)


def test_sessions_that_are_gone_are_named() -> None:
    made = plan(amount=msgspec.structs.replace(plan().amount, sessions=("nothing",)))
    with pytest.raises(PlanError, match="the session nothing is not found"):
        sessions_of_plan(made, ())


def test_a_file_that_has_changed_is_not_gone_on_with() -> None:
    tiny = Path(__file__).parents[3] / "profiles" / "models" / "tiny"
    of, _ = choice_of(QuantAsked(files=(tiny / "tiny-q8_0.gguf", tiny / "tiny-q2_k.gguf")))
    same_files(of)
    changed = msgspec.structs.replace(of.reference, model=model(path=of.reference.model.path))
    with pytest.raises(PlanError, match="is not what it was"):
        same_files(msgspec.structs.replace(of, candidates=(changed,), reference=changed))
