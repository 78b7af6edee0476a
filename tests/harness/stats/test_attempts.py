from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import attempts_by_task, pass_all_k, pass_at_k
from tests.harness.stats.experiments import dispatch


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 8))
def test_they_are_the_shares_of_all_choices(outcomes: list[bool], k: int) -> None:
    choices = list(combinations(outcomes, k))
    n, successes = len(outcomes), sum(outcomes)
    if not choices:
        assert pass_at_k(n, successes, k) is pass_all_k(n, successes, k) is None
        return
    assert pass_at_k(n, successes, k) == pytest.approx(sum(map(any, choices)) / len(choices))
    assert pass_all_k(n, successes, k) == pytest.approx(sum(map(all, choices)) / len(choices))


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="k is at least 1"):
        pass_at_k(3, 1, 0)
    with pytest.raises(ValueError, match="5 successes in 3 attempts"):
        pass_all_k(3, 5, 1)


def test_faults_are_no_attempts() -> None:
    seen = [dispatch("A"), dispatch("A", block=1, success=False), dispatch("A", excluded=True), dispatch("B")]
    assert attempts_by_task(seen, "A") == {"t": (2, 1)}
