from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.stats import TIME_TO_SUCCESS, look, pair_up
from harness.stats.sequential import least_wins, log_e_value, ratio_always, win_rate_always
from tests.harness.stats.experiments import Drawn, dispatch, draw, observed


def ever_stopped(drawn: Drawn, alpha: float = 0.05) -> float:
    """The share of experiments that stop at some pair, looking after each."""
    one_failed = drawn.first_failed != drawn.second_failed
    sooner = np.where(one_failed, drawn.first_failed, drawn.second < drawn.first)
    even = drawn.first_failed & drawn.second_failed
    trials = len(sooner)
    won = np.cumsum((sooner & ~even).reshape(trials, -1), axis=-1, dtype=np.float64)
    lost = np.cumsum((~sooner & ~even).reshape(trials, -1), axis=-1, dtype=np.float64)
    return float((log_e_value(won, lost) >= math.log(1 / alpha)).any(axis=-1).mean())


@pytest.mark.parametrize("slow", [0.0, 0.33])
@pytest.mark.parametrize("failing", [0.0, 0.3])
def test_looking_after_every_pair_gives_no_more_false_alarms(slow: float, failing: float) -> None:
    assert ever_stopped(draw(5, 3000, 60, 1, slow=(slow, slow), failing=(failing, failing))) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("slow", [0.0, 0.1, 0.33])
def test_nor_does_looking_after_each_of_500_pairs(slow: float) -> None:
    assert ever_stopped(draw(5, 20_000, 500, 1, slow=(slow, slow))) <= 0.05


def test_an_ordinary_test_would() -> None:
    """The same looks with a binomial test: what the e-value is for."""
    won = np.cumsum(np.random.default_rng(1).random((3000, 40)) < 0.5, axis=-1)
    n = np.arange(1, 41)
    p = 2 * stats.binom.cdf(np.minimum(won, n - won), n, 0.5)
    assert float(np.any(p <= 0.05, axis=-1).mean()) > 0.08


def test_a_real_difference_is_found_early() -> None:
    assert ever_stopped(draw(5, 1000, 20, 1, 0.7)) > 0.9


def test_eight_wins_in_a_row_decide() -> None:
    """With a = 1 and no loss, E = 2^n / (n + 1): 16 after 7 and 28.4 after 8, with 1/alpha = 20."""
    assert math.exp(float(log_e_value(np.array(7.0), np.array(0.0)))) == pytest.approx(16)
    seen = [
        dispatch(arm, block=block, seconds=100 if arm == "A" else 70 + block) for block in range(12) for arm in "AB"
    ]
    found = look(pair_up(seen, "A", "B").pairs, TIME_TO_SUCCESS)
    assert (found.won, found.lost, found.stop, found.stopped_after) == (12, 0, True, 8)
    assert found.for_treatment


def test_how_many_pairs_have_to_be_won_for_a_decision() -> None:
    assert [least_wins(n) for n in (7, 8, 9, 12, 20)] == [None, 8, 9, 11, 17]
    for n, won in ((12, 11), (20, 17)):
        enough, less = (
            math.exp(float(log_e_value(np.array(float(k)), np.array(float(n - k))))) for k in (won, won - 1)
        )
        assert less < 20 <= enough


def test_the_worse_arm_loses() -> None:
    seen = [dispatch(arm, block=block, seconds=70 if arm == "A" else 100) for block in range(3) for arm in "AB"]
    seen += [dispatch("A", block=9, success=False), dispatch("B", block=9, success=False)]
    found = look(pair_up(seen, "A", "B").pairs, TIME_TO_SUCCESS)
    assert (found.won, found.lost, found.tied, found.stop) == (0, 3, 1, False)


def test_before_the_first_pair_everything_is_open() -> None:
    found = look((), TIME_TO_SUCCESS)
    assert (found.e_value, found.stop, found.ratio.low, found.ratio.high) == (1.0, False, None, None)
    assert (found.win_rate.low, found.win_rate.high) == (0, 1)


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_interval_ends_where_the_e_value_reaches_its_limit(won: int, lost: int) -> None:
    interval = win_rate_always(won, lost)
    assert interval.low is not None
    assert interval.high is not None
    assert 0 <= interval.low <= (won / (won + lost) if won + lost else 0.5) <= interval.high <= 1
    for edge in (interval.low, interval.high):
        if 0 < edge < 1:
            e_value = math.exp(float(log_e_value(np.array(float(won)), np.array(float(lost)), chance=edge)))
            assert e_value == pytest.approx(20, rel=1e-6)


def test_the_interval_of_the_ratio_leaves_out_1_when_the_test_stops() -> None:
    seen = observed(draw(6, 1, 12, 2, 0.7))
    found = look(pair_up(seen, "A", "B").pairs, TIME_TO_SUCCESS)
    assert found.stop
    assert found.ratio.high is not None
    assert found.ratio.high < 1


def coverage_at_every_look(trials: int, pairs: int) -> float:
    ratios = (draw(7, trials, pairs, 1, 0.8, slow=(0.33, 0.33)).by_task).tolist()
    always = 0
    for values in ratios:
        intervals = [ratio_always(values[:n], values[:n]) for n in range(8, pairs + 1, 4)]
        always += all((each.low or 0) <= 0.8 <= (each.high or math.inf) for each in intervals)
    return always / trials


def test_the_interval_of_the_ratio_holds_at_every_look() -> None:
    assert coverage_at_every_look(150, 40) >= 0.95


@pytest.mark.slow
def test_the_interval_of_the_ratio_holds_at_every_look_in_many_experiments() -> None:
    assert coverage_at_every_look(3000, 60) >= 0.95
