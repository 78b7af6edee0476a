from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import Metric, Observation, compare
from harness.stats.locations import sign_flip_p
from tests.harness.stats.experiments import dispatch

SCORE = Metric("score", "score", "higher")


def scored(scores: list[tuple[float, float]]) -> list[Observation]:
    return [
        dispatch(arm, f"t{task:02}", score=score)
        for task, pair in enumerate(scores)
        for arm, score in zip("AB", pair, strict=True)
    ]


def test_up_to_twelve_tasks_the_p_is_exact() -> None:
    scores = [(0.2, 0.9), (0.5, 0.6), (0.1, 0.8), (0.4, 0.4), (0.3, 0.7), (0.6, 0.5), (0.0, 0.3)]
    main = compare(scored(scores), "A", "B", SCORE).main
    assert main.p == float(sign_flip_p(np.array([second - first for first, second in scores])))
    assert main.value == pytest.approx(2.1 / 7)


def test_from_twelve_tasks_on_a_bootstrap_stands_beside() -> None:
    rng = np.random.default_rng(4)
    scores = [(float(first), float(min(1, first + 0.2))) for first in rng.random(12)]
    comparison = compare(scored(scores), "A", "B", SCORE)
    (bootstrap,) = comparison.beside
    assert bootstrap.method == "BCa bootstrap over tasks"
    assert bootstrap.interval is not None
    assert bootstrap.interval.low is not None
    assert bootstrap.value is not None
    assert bootstrap.interval.low < bootstrap.value
    assert compare(scored(scores[:11]), "A", "B", SCORE).beside == ()


def test_equal_scores_do_not_prove_that_all_are() -> None:
    """Six tasks of the same difference leave a chance of 1 − 0.05^(1/6) = 0.393 for one that is not."""
    main = compare(scored([(1.0, 1.0)] * 6), "A", "B", SCORE).main
    assert main.interval is not None
    assert (main.interval.low, main.interval.high) == pytest.approx((-0.393, 0.393), abs=5e-4)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=10))
def test_exchanged_arms_turn_the_difference(scores: list[tuple[float, float]]) -> None:
    there, back = (compare(scored(scores), *arms, SCORE).main for arms in (("A", "B"), ("B", "A")))
    assert there.value is not None
    assert there.interval is not None
    assert back.interval is not None
    assert there.interval.low is not None
    assert back.interval.high == pytest.approx(-there.interval.low, abs=1e-9)
    assert there.interval.low - 1e-9 <= there.value
    assert there.p == pytest.approx(back.p)
    assert there.p is not None
    assert 0 < there.p <= 1
