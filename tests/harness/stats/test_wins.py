from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.stats import TIME_TO_SUCCESS, compare, pair_up
from harness.stats.ratios import log_ratios
from harness.stats.wins import outcome, share_interval
from tests.harness.stats.experiments import dispatch, draw, observed


def test_a_failure_loses_however_early_it_gave_up() -> None:
    pairs = pair_up([dispatch("A", seconds=500), dispatch("B", seconds=3, success=False)], "A", "B").pairs
    (ratio,) = log_ratios(pairs, TIME_TO_SUCCESS).ratios
    assert outcome(ratio, TIME_TO_SUCCESS) == -1


def test_without_a_success_in_either_arm_a_pair_is_even() -> None:
    seen = [dispatch("A", success=False), dispatch("B", success=False)]
    seen += [dispatch("A", "u", 1), dispatch("B", "u", 1, success=False)]
    main = compare(seen, "A", "B", TIME_TO_SUCCESS).main
    assert (main.scale, main.value, main.pairs) == ("net wins", -0.5, 2)
    assert main.notes[-1].startswith("0 won, 1 lost, 1 even")


def test_without_even_pairs_it_is_the_share_won() -> None:
    low, high = share_interval(np.array([9.0, 3.0, 12.0]), 0.95)
    wilson = stats.binomtest(9, 12).proportion_ci(method="wilson")
    assert (float(low), float(high)) == pytest.approx((2 * wilson.low - 1, 2 * wilson.high - 1))


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_the_share_lies_in_its_interval(won: int, lost: int, even: int) -> None:
    n = max(1, won + lost + even)
    low, high = (float(bound) for bound in share_interval(np.array([won, lost, n], dtype=np.float64), 0.95))
    assert -1 <= low <= (won - lost) / n + 1e-12
    assert (won - lost) / n - 1e-12 <= high <= 1
    back = share_interval(np.array([lost, won, n], dtype=np.float64), 0.95)
    assert (low, high) == pytest.approx((-float(back[1]), -float(back[0])))


def test_beside_it_are_the_ratios_and_what_they_are_of() -> None:
    comparison = compare(observed(draw(2, 1, 8, 2, 0.6, failing=(0.3, 0.1))), "A", "B", TIME_TO_SUCCESS)
    assert comparison.main.scale == "net wins"
    methods = [beside.method for beside in comparison.beside]
    assert methods == [
        "t over tasks, cut off at the limit", "t over tasks, both ended", "restricted mean, t over tasks", "log-rank",
    ]  # fmt: skip
    assert comparison.cut_off == comparison.beside[0]
