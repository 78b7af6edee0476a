from __future__ import annotations

import msgspec
import numpy as np
import pytest

from harness.stats import TIME_TO_SUCCESS, Observation, pair_up, second_by_first, trend
from tests.harness.stats.experiments import dispatch, draw, observed


def slower_later(seen: list[Observation], factor: float) -> list[Observation]:
    last = max(each.order for each in seen)
    return [msgspec.structs.replace(each, time_s=(each.time_s or 0) * factor ** (each.order / last)) for each in seen]


def slower_second(seen: list[Observation], factor: float) -> list[Observation]:
    first = {
        (each.task, each.block): min(o.order for o in seen if (o.task, o.block) == (each.task, each.block))
        for each in seen
    }
    return [
        msgspec.structs.replace(
            each, time_s=(each.time_s or 0) * (factor if each.order > first[each.task, each.block] else 1)
        )
        for each in seen
    ]


def test_an_effect_of_the_second_place_is_found_beside_one_of_the_arm() -> None:
    seen = slower_second(observed(draw(11, 1, 12, 2, 0.6)), 1.3)
    found = second_by_first(pair_up(seen, "A", "B").pairs, TIME_TO_SUCCESS)
    assert found.interval is not None
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert 1 < found.interval.low < 1.3 < found.interval.high


def test_a_machine_that_gets_slower_is_found() -> None:
    found = trend(slower_later(observed(draw(14, 1, 8, 4, 0.8)), 1.5), TIME_TO_SUCCESS)
    assert found.interval is not None
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert 1 < found.interval.low < 1.5 < found.interval.high


def test_without_an_effect_there_are_few_alarms() -> None:
    p_values: list[tuple[float, ...]] = []
    for trial in range(60):
        seen = observed(draw(100 + trial, 1, 6, 2), seed=trial)
        both = second_by_first(pair_up(seen, "A", "B").pairs, TIME_TO_SUCCESS).p, trend(seen, TIME_TO_SUCCESS).p
        p_values.append(tuple(1.0 if p is None else p for p in both))
    assert (np.asarray(p_values) <= 0.05).mean(axis=0).max() <= 0.12


def test_one_order_alone_cannot_be_told_from_the_arm() -> None:
    seen = [dispatch(arm, f"t{task}", order=2 * task + (arm == "B")) for task in range(6) for arm in "AB"]
    found = second_by_first(pair_up(seen, "A", "B").pairs, TIME_TO_SUCCESS)
    assert found.interval is None
    assert "the order cannot be told from the arm" in found.notes[0]


def test_a_trend_needs_dispatches() -> None:
    found = trend([dispatch("A"), dispatch("B", order=1)], TIME_TO_SUCCESS)
    assert (found.value, found.notes) == (None, ("2 dispatches, 1 tasks: too few for a trend",))


def test_arms_that_ran_one_after_the_other_cannot_be_told_from_their_order() -> None:
    seen = [dispatch(arm, f"t{task}", order=int(arm == "B")) for task in range(6) for arm in "AB"]
    assert trend(seen, TIME_TO_SUCCESS).notes == ("the order cannot be told from arms and tasks",)


@pytest.mark.parametrize("function", [second_by_first])
def test_exchanged_arms_change_nothing(function) -> None:  # type: ignore[no-untyped-def]
    seen = observed(draw(13, 1, 6, 2, 0.7))
    there, back = (function(pair_up(seen, *arms).pairs, TIME_TO_SUCCESS) for arms in (("A", "B"), ("B", "A")))
    assert there.value == pytest.approx(back.value)
