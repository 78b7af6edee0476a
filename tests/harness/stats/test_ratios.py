from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.stats import TIME_TO_SUCCESS, Metric, Observation, compare, pair_up
from harness.stats.ratios import log_ratios
from tests.harness.stats.experiments import dispatch, draw, observed

TOKENS = Metric("tokens", "ratio", accumulates=True)
times = st.floats(1, 500)
experiments = st.lists(st.tuples(st.integers(0, 5), times, times), min_size=2, max_size=14)


def both(rows: list[tuple[int, float, float]]) -> list[Observation]:
    return [
        dispatch(arm, f"t{task}", block, order=2 * block + place, seconds=seconds)
        for block, (task, *pair) in enumerate(rows)
        for place, (arm, seconds) in enumerate(zip("AB", pair, strict=True))
    ]


def test_the_unit_is_the_task() -> None:
    """Two tasks, of which one has three pairs: t over their mean logarithms, with one degree of freedom."""
    main = compare(both([(0, 100, 50), (0, 100, 60), (0, 100, 70), (1, 10, 9)]), "A", "B", TIME_TO_SUCCESS).main
    means = [math.log(0.5 * 0.6 * 0.7) / 3, math.log(0.9)]
    theirs = stats.ttest_1samp(means, 0).confidence_interval()
    assert (main.pairs, main.tasks, main.method) == (4, 2, "t over tasks")
    assert main.value == pytest.approx(math.exp(np.mean(means)))
    assert main.interval is not None
    assert (main.interval.low, main.interval.high) == pytest.approx((math.exp(theirs.low), math.exp(theirs.high)))
    assert main.within == pytest.approx(np.std(np.log([0.5, 0.6, 0.7]), ddof=1))


@given(experiments)
def test_exchanged_arms_invert_the_ratio(rows: list[tuple[int, float, float]]) -> None:
    there, back = (compare(both(rows), *arms, TIME_TO_SUCCESS).main for arms in (("A", "B"), ("B", "A")))
    assert there.value is not None
    assert back.value is not None
    assert back.value == pytest.approx(1 / there.value)
    assert (back.interval is None) == (there.interval is None)
    if there.interval is not None and back.interval is not None:
        assert there.interval.low is not None
        assert there.interval.high is not None
        assert back.interval.high == pytest.approx(1 / there.interval.low)
        assert there.interval.low <= there.value * (1 + 1e-9)
        assert there.value <= there.interval.high * (1 + 1e-9)
        assert there.p == pytest.approx(back.p)


@given(experiments, st.integers(0, 13))
def test_a_fault_changes_no_other_pair(rows: list[tuple[int, float, float]], lost: int) -> None:
    seen = both(rows)
    lost = 2 * (lost % len(rows)) + lost % 2
    faulty = Observation(arm=seen[lost].arm, task=seen[lost].task, block=seen[lost].block, order=99, excluded=True)
    whole, without = pair_up(seen, "A", "B"), pair_up([*seen[:lost], faulty, *seen[lost + 1 :]], "A", "B")
    assert without.pairs == tuple(pair for pair in whole.pairs if pair.block != seen[lost].block)
    assert without.notes == ("1 × dispatch ended by a fault", "1 × dispatch without its pair")
    assert pair_up([*seen, faulty], "A", "B").pairs == whole.pairs, "a fault that was repeated costs nothing"


def test_two_outcomes_of_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="A has two outcomes of task t in block 0"):
        pair_up([dispatch("A"), dispatch("A"), dispatch("B")], "A", "B")


def test_what_has_no_value_is_left_out_and_said() -> None:
    seen = [*both([(0, 100, 50), (1, 100, 60), (2, 100, 70)])]
    seen = [*seen, dispatch("A", "t8", 8, success=None), dispatch("B", "t8", 8)]
    seen = [*seen, dispatch("A", "t9", 9, seconds=None), dispatch("B", "t9", 9)]
    main = compare(seen, "A", "B", TIME_TO_SUCCESS).main
    assert main.pairs == 3
    assert set(main.notes) == {
        "1 × pair left out: dispatch not judged",
        "1 × pair left out: success without a known time",
    }


def test_identical_values_in_six_tasks_are_told_by_ranks() -> None:
    main = compare(both([(task, 100, 80) for task in range(6)]), "A", "B", TIME_TO_SUCCESS).main
    assert main.interval is not None
    assert (main.interval.low, main.value, main.interval.high) == pytest.approx((0.8, 0.8, 0.8))
    few = compare(both([(task, 100, 80) for task in range(5)]), "A", "B", TIME_TO_SUCCESS).main
    assert few.interval is None
    assert "ranks set no bound with fewer than 6" in few.notes


def test_one_task_speaks_for_itself_alone() -> None:
    rows = [(0, 100.0, 70.0 + block) for block in range(8)]
    main = compare(both(rows), "A", "B", TIME_TO_SUCCESS).main
    assert main.interval is not None
    assert "one task: its pairs count, and this is about it alone" in main.notes


def test_a_stopped_dispatch_gives_a_bound_only_of_what_accumulates() -> None:
    pairs = pair_up(
        [dispatch("A", measures={"tokens": 100.0}), dispatch("B", measures={"tokens": 300.0}, censored=True)], "A", "B"
    ).pairs
    (ratio,) = log_ratios(pairs, TOKENS).ratios
    assert ratio.least == pytest.approx(math.log(3))
    assert ratio.most == math.inf
    (whole,) = log_ratios(pairs, Metric("tokens", "ratio")).ratios
    assert whole.least == whole.most


def test_hodges_lehmann_stands_beside() -> None:
    (beside, *_) = compare(observed(draw(1, 1, 8, 2, 0.7)), "A", "B", TOKENS).beside
    assert beside.method == "Hodges–Lehmann, exact Wilcoxon"
    assert beside.interval is not None
