from __future__ import annotations

import pytest
from scipy import stats

from harness.stats import log_rank_p, median_time_s, pair_up, restricted_mean_difference
from tests.harness.stats.experiments import dispatch

# Freireich et al. 1963: weeks of remission with 6-MP and with a placebo; log-rank p below 0.001, medians 23 and 8.
TREATED = [6, 6, 6, 7, 10, 13, 16, 22, 23]
CENSORED = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
REMISSIONS = [
    *(dispatch("A", block=block, seconds=weeks) for block, weeks in enumerate(TREATED)),
    *(dispatch("A", block=20 + block, success=False, limit_s=weeks) for block, weeks in enumerate(CENSORED)),
    *(dispatch("B", block=block, seconds=weeks) for block, weeks in enumerate(PLACEBO)),
]


def test_the_published_example_of_freireich() -> None:
    p = log_rank_p(REMISSIONS, "A", "B")
    assert p is not None
    assert stats.chi2.isf(p, 1) == pytest.approx(16.79, abs=0.01)
    assert (median_time_s(REMISSIONS, "A"), median_time_s(REMISSIONS, "B")) == (23, 8)


def test_without_a_success_nothing_is_told() -> None:
    failures = [dispatch(arm, success=False) for arm in "AB"]
    assert log_rank_p(failures, "A", "B") is None
    assert median_time_s(failures, "A") is None
    assert median_time_s([], "A") is None


def test_the_restricted_mean_counts_a_failure_as_its_limit() -> None:
    seen = [dispatch("A", "t"), dispatch("B", "t", success=False), dispatch("A", "u"), dispatch("B", "u", seconds=50)]
    difference = restricted_mean_difference(pair_up(seen, "A", "B"))
    assert (difference.value, difference.pairs) == ((500 - 50) / 2, 2)
