"""A few cases of the battery (`benchmarks.injected_causes`): what was put in is named, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.base import CacheKind
from benchmarks.injected_causes import FORMS, cases_of
from benchmarks.injection.case import CLEAN, Made, one_of
from benchmarks.injection.judging import Seen, judged
from benchmarks.injection.models import write_models
from benchmarks.injection.running import Place, outcomes
from profiler.causes.catalogue import CAUSES

CHOSEN = (
    "P1.date", "P2.commits", "P4.attached", "P6.late", "P7.sorted-keys", "P8.key-order", "P9.client",
    "P11.summary", "P14.reworded", "E13.cache-prompt", "clean.plain", "clean.two-calls",
)  # fmt: skip
ENGINES: tuple[tuple[str, CacheKind], ...] = (("llama-server", "full"),)


@pytest.mark.engine
def test_what_was_put_in_is_named_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="a real llama-server is asked: pip install 'llmdyno[llama-server]'")
    forms = [form for form in FORMS if f"{form.code}.{form.name}" in CHOSEN]
    place = Place(write_models(tmp_path, ENGINES), {}, tmp_path / "runs", size="small")
    place.runs.mkdir()
    found = list(outcomes(place, cases_of(forms, ENGINES, [7])))
    assert len(found) == len(CHOSEN)
    assert {outcome.name: (outcome.skipped, outcome.faults) for outcome in found} == {
        outcome.name: (None, ()) for outcome in found
    }


def test_every_form_puts_in_what_it_says() -> None:
    known = {kind.code for kind in CAUSES}
    for case in cases_of(FORMS, ENGINES, [1, 2]):
        made = case.made("small")
        codes = {code for wanted in made.must.values() for one in wanted for code in one}
        assert codes <= known, case.name
        assert all(0 < turn < len(made.turns) for turn in made.must), case.name
        assert (case.form.code == CLEAN) == (not made.must), case.name
        assert set(case.form.code.split("+")) <= {CLEAN, *codes}, case.name
        assert made == case.made("small"), case.name


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ((), "missed"), (("P2",), "wrong"), (("P1",), None), (("P1", "E5"), None), (("P1", "E1"), "false alarm"),
    ],
)  # fmt: skip
def test_a_request_is_right_when_it_has_all_that_it_must_and_nothing_that_it_may_not(
    codes: tuple[str, ...], kind: str | None
) -> None:
    made = Made((), {1: one_of("P1")}, {1: frozenset({"E5"})})
    faults = judged(made, [Seen((), (0, 0), ""), Seen(codes, (9, 0), "")])
    assert [fault.kind for fault in faults] == ([kind] if kind else [])


def test_a_cause_at_a_request_into_which_nothing_was_put_is_a_false_alarm() -> None:
    (fault,) = judged(Made(()), [Seen(("E6",), (0, 99), "said")])
    assert (fault.turn, fault.kind, fault.named) == (0, "false alarm", ("E6",))
