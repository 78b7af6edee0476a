from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from harness.stats.locations import MOST_ENUMERATED, least_ranked, sign_flip_p, signed_rank, student

Floats = NDArray[np.float64]

SAMPLE = np.array([1.1, 2.2, 0.3, -0.4, 1.5, 2.7, 0.9, 0.05])
samples = st.lists(st.floats(-50, 50), min_size=2, max_size=12).map(lambda values: np.asarray(values, dtype=np.float64))


def test_student_is_that_of_scipy() -> None:
    ours, theirs = student(SAMPLE, 0.9), stats.ttest_1samp(SAMPLE, 0)
    interval = theirs.confidence_interval(0.9)
    assert [float(each) for each in ours] == pytest.approx([SAMPLE.mean(), interval.low, interval.high, theirs.pvalue])


def test_values_without_a_spread_set_no_interval() -> None:
    located = student(np.full(6, 0.3), 0.95)
    assert float(located.value) == pytest.approx(0.3)
    assert np.isnan([located.low, located.high, located.p]).all()


@pytest.mark.parametrize("n", [6, 7, 9, 14, 20])
def test_signed_ranks_are_those_of_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(0.4, 1, n)
    assert float(signed_rank(values, 0.95).p) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def test_an_interval_by_ranks_ends_where_the_test_begins_to_reject() -> None:
    located = signed_rank(SAMPLE, 0.95)
    inside, outside = float(located.low) + 1e-9, float(located.low) - 1e-9
    assert float(signed_rank(SAMPLE - inside, 0.95).p) > 0.05 >= float(signed_rank(SAMPLE - outside, 0.95).p)
    inside, outside = float(located.high) - 1e-9, float(located.high) + 1e-9
    assert float(signed_rank(SAMPLE - inside, 0.95).p) > 0.05 >= float(signed_rank(SAMPLE - outside, 0.95).p)


def test_the_published_example_of_hollander_and_wolfe() -> None:
    """Hamilton's depression scale before and after a tranquiliser: estimate −0.46, bounds −0.786 and −0.010 (96 %)."""
    before = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    after = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    located = signed_rank(after - before, 0.95)
    assert [float(each) for each in located[:3]] == pytest.approx([-0.46, -0.786, -0.010], abs=5e-4)
    assert float(located.p) == pytest.approx(0.0391, abs=5e-5)


def test_too_few_ranks_set_no_bound() -> None:
    assert least_ranked(0.95) == 6
    assert least_ranked(0.9) == 5
    assert np.isinf(signed_rank(SAMPLE[:5], 0.95).low)
    assert np.isfinite(signed_rank(SAMPLE[:6], 0.95).low)


def test_flipped_signs_are_those_of_scipy() -> None:
    theirs = stats.permutation_test((SAMPLE,), np.mean, permutation_type="samples", n_resamples=2**9)
    assert float(sign_flip_p(SAMPLE)) == pytest.approx(theirs.pvalue)


def test_too_many_signs_are_refused() -> None:
    with pytest.raises(ValueError, match="ask the t test"):
        sign_flip_p(np.ones(MOST_ENUMERATED + 1))


@given(samples)
def test_a_permutation_p_is_above_0_and_at_most_1(values: Floats) -> None:
    assert 2.0 ** (1 - len(values)) <= float(sign_flip_p(values)) <= 1


@given(samples)
def test_intervals_hold_the_estimate(values: Floats) -> None:
    for located in (student(values, 0.95), signed_rank(values, 0.95)):
        if not np.isnan(located.low):
            assert located.low <= located.value <= located.high
            assert 0 <= located.p <= 1


@given(samples)
def test_turned_signs_turn_the_interval(values: Floats) -> None:
    for function in (student, signed_rank):
        there, back = function(values, 0.95), function(-values, 0.95)
        if np.isnan(there.low):
            continue
        assert -float(back.value) == pytest.approx(float(there.value), abs=1e-12)
        assert -float(back.high) == pytest.approx(float(there.low), abs=1e-12)
        assert float(back.p) == pytest.approx(float(there.p))
