"""What optuna proposes over a space that cannot be simulated whole, and what happens without it."""

from __future__ import annotations

import sys

import pytest

from harness.tune.search import Missing, propose
from harness.tune.space import Space, make_space
from harness.tune.tuning import MOST_SIMULATED, Tuning
from tests.harness.tune.formula import HOSTILE, VARY, Formula, plan, space


def large() -> Space:
    """The space of the formula with two more levers, which it does not know: they make no difference."""
    around = space(HOSTILE)
    more = {**VARY, "limits.turns": ("40", "60", "80"), "loop.repeats": ("4", "5", "6", "7")}
    return make_space(around.setting, "here", more, around.rules)


def test_proposals_are_new_settings_that_can_be_run() -> None:
    pytest.importorskip("optuna")
    around = large()
    known = {point: float(number) for number, point in enumerate(around.draw(30, seed=1))}
    found = propose(around, known, 20, seed=3)
    assert found == propose(around, known, 20, seed=3)
    assert len(set(found)) == len(found) > 10
    assert not set(found) & set(known)
    assert all(around.why_not(point) is None and around.canonical(point) == point for point in found)


def test_a_large_space_is_searched_and_its_best_is_found() -> None:
    pytest.importorskip("optuna")
    around = large()
    assert around.combinations > MOST_SIMULATED
    laboratory = Formula(around, 2, noise=0.02)
    tuning = Tuning(plan(around, seed=2), laboratory)
    tuning.run()
    assert tuning.chosen is not None
    small = space(HOSTILE)
    assert laboratory.true_s(tuning.chosen) <= 1.1 * Formula(small, 0).best_s()
    assert "04-simulate" in [stage.name for stage in tuning.stages]
    # What makes no difference is left as it is.
    values = around.values(tuning.chosen)
    assert (values["limits.turns"], values["loop.repeats"]) == ("40", "4")


def test_without_the_extra_it_says_so_and_races_the_screened_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(Missing, match=r"pip install 'llmdyno\[tune\]'"):
        propose(large(), {}, 5, seed=0)
    tuning = Tuning(plan(large(), seed=2), Formula(large(), 2, noise=0.02))
    tuning.run()
    assert tuning.finished
    assert any("screened grid" in note for note in tuning.notes)
