from __future__ import annotations

import pytest

from harness.stats import holm


def test_the_published_example_of_holm() -> None:
    """p of 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02 (as with R's p.adjust)."""
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06), "d": 0.02}


def test_a_p_that_is_not_known_still_counts() -> None:
    assert holm({"a": 0.01, "b": None}) == {"a": 0.02, "b": None}


def test_no_p_is_above_1() -> None:
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
