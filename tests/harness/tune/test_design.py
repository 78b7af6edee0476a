"""Designs are balanced and orthogonal, and a fold-over frees main effects of pairs: for every size there is."""

from __future__ import annotations

import numpy as np
import pytest

from harness.experiment.plan import PlanError
from harness.tune.design import MOST_LEVERS, aliases, folded, pair_aliases, plackett_burman, screening_rows

LEVERS = range(1, MOST_LEVERS + 1)


@pytest.mark.parametrize("levers", LEVERS)
def test_every_level_is_as_often_as_the_other_and_columns_are_orthogonal(levers: int) -> None:
    design = plackett_burman(levers).astype(int)
    assert design.shape[0] in (8, 12, 16, 20, 24)
    assert not design.sum(axis=0).any()
    assert (design.T @ design == design.shape[0] * np.eye(levers)).all()


@pytest.mark.parametrize("levers", LEVERS)
def test_a_fold_over_frees_main_effects_of_pairs(levers: int) -> None:
    names = [f"L{number}" for number in range(levers)]
    design = screening_rows(levers, fold=True).astype(int)
    assert not design.sum(axis=0).any()
    assert (design.T @ design == design.shape[0] * np.eye(levers)).all()
    assert all(not mixed for mixed in aliases(design.astype(np.int8), names).values())


def test_without_a_fold_over_main_effects_are_mixed_with_pairs_in_words() -> None:
    design = plackett_burman(7)
    mixed = aliases(design, list("ABCDEFG"))
    assert all(len(pairs) == 3 for pairs in mixed.values())
    for name, pairs in mixed.items():
        assert all(name not in pair and "(by" not in pair for pair in pairs)
    partly = aliases(plackett_burman(11), list("ABCDEFGHIJK"))
    assert all("(by 33 %)" in pair for pairs in partly.values() for pair in pairs)


def test_pairs_that_cannot_be_told_from_each_other_are_named() -> None:
    groups = pair_aliases(folded(plackett_burman(7)), list("ABCDEFG"))
    assert len(groups) == 7
    assert all(len(group) == 3 for group in groups)


def test_few_levers_need_no_run_twice() -> None:
    assert [len(screening_rows(levers, fold=True)) for levers in (1, 2, 3, 4, 5)] == [2, 4, 8, 16, 16]


@pytest.mark.parametrize("levers", [0, MOST_LEVERS + 1])
def test_what_cannot_be_screened_is_said(levers: int) -> None:
    with pytest.raises(PlanError, match="cannot be screened"):
        plackett_burman(levers)
