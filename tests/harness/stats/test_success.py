from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.stats import SUCCESS, compare, rate_interval, success_rate
from harness.stats.success import mcnemar_p, newcombe, pairs_to_rule_out
from tests.harness.stats.experiments import dispatch


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (1, 5), (5, 5), (37, 80), (160, 161)])
def test_wilson_is_that_of_scipy(hits: int, n: int) -> None:
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    interval = rate_interval(hits, n)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_of_nothing_there_is_no_rate() -> None:
    assert rate_interval(0, 0) is None
    assert success_rate([], "A").value is None


def test_newcombe_is_that_of_the_published_example() -> None:
    """Cavo et al. 2012, in Fagerland, Lydersen and Laake: −0.0621 (−0.1186 to −0.0046), first less second."""
    low, high = newcombe(np.array([59.0, 6.0, 16.0, 80.0]), 0.95)
    assert (-float(high), -float(low)) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


def test_agreeing_pairs_still_have_an_interval() -> None:
    low, high = newcombe(np.array([12.0, 0.0, 0.0, 0.0]), 0.9)
    assert (float(low), float(high)) == pytest.approx((-0.184, 0.184), abs=5e-4)


@pytest.mark.parametrize(("lost", "won", "p"), [(0, 5, 0.0625), (0, 6, 0.03125), (5, 15, 0.041389), (0, 0, 1.0)])
def test_mcnemar_is_the_binomial_test_of_the_pairs_that_differ(lost: int, won: int, p: float) -> None:
    assert mcnemar_p(lost, won) == pytest.approx(p, abs=1e-6)
    assert mcnemar_p(won, lost) == mcnemar_p(lost, won)


def test_a_rate_leaves_out_faults_and_says_so() -> None:
    seen = [dispatch("A", success=True), dispatch("A", success=None), dispatch("A", excluded=True), dispatch("B")]
    rate = success_rate(seen, "A")
    assert (rate.value, rate.pairs) == (1.0, 1)
    assert rate.notes == ("1 × dispatch ended by a fault", "1 × dispatch not judged")


def test_pairs_of_one_task_are_not_so_many_tasks() -> None:
    """The same outcomes, once spread over tasks, once all the gains in two of them: the second is told less well."""
    gains = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    spread = compare(_successes(gains[::2] * 2), "A", "B", SUCCESS).main
    bunched = compare(_successes(gains), "A", "B", SUCCESS).main
    assert spread.value == bunched.value == 0.5
    assert spread.interval is not None
    assert bunched.interval is not None
    assert bunched.interval.low is not None
    assert spread.interval.low is not None
    assert bunched.interval.low < 0 < spread.interval.low


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=16))
def test_exchanged_arms_turn_the_difference(outcomes: list[tuple[int, bool, bool]]) -> None:
    seen = []
    for block, (task, first, second) in enumerate(outcomes):
        seen += [dispatch("A", f"t{task}", block, success=first), dispatch("B", f"t{task}", block, success=second)]
    there, back = compare(seen, "A", "B", SUCCESS).main, compare(seen, "B", "A", SUCCESS).main
    assert there.interval is not None
    assert back.interval is not None
    assert there.value is not None
    assert back.value == pytest.approx(-there.value)
    assert back.interval.low is not None
    assert there.interval.low is not None
    assert there.interval.high == pytest.approx(-back.interval.low, abs=1e-12)
    assert -1 <= there.interval.low <= there.value + 1e-12
    assert there.p == pytest.approx(back.p)


def _successes(gains: list[int]):  # type: ignore[no-untyped-def]
    """Two pairs of each of six tasks; the baseline always fails."""
    for place, gain in enumerate(gains):
        yield dispatch("A", f"t{place // 2}", place % 2, success=False)
        yield dispatch("B", f"t{place // 2}", place % 2, success=bool(gain))


def test_the_fewest_pairs_that_rule_out_a_fall_rule_it_out_and_one_less_does_not() -> None:
    """Where nothing fails the lower bound is −z²/(n + z²): above −0.1 from n > 9 z² on, which is 24.4."""
    assert pairs_to_rule_out((1, 0, 0, 0), 0.1, 0.9) == 25
    for n, holds in ((25, True), (24, False)):
        low, _ = newcombe(np.array([float(n), 0.0, 0.0, 0.0]), 0.9)
        assert (float(low) > -0.1) is holds


def test_failures_ask_for_more_pairs_and_a_fall_beyond_the_margin_for_more_than_there_are() -> None:
    some = pairs_to_rule_out((8, 1, 1, 2), 0.1, 0.9)
    assert some is not None
    assert some > 25
    assert pairs_to_rule_out((8, 3, 0, 1), 0.1, 0.9) is None
