"""What the proof of `dyno ab` holds against a report: each of the ways in which one could be wrong is named."""

from __future__ import annotations

import pytest

from benchmarks.experiments.levers import Losses, faults_of_bloated, faults_of_cache_hostile
from profiler.ab_document import PartRow
from tests.benchmarks.documents import document, metric, part

NOTHING = Losses(0, 2, {})
LOST = Losses(900, 2, {"P1": 2, "P6": 2, "P11": 2})
HOSTILE = tuple(part("lost", 0.0, 20.0, code) for code in ("P1", "P6", "P11"))
NEW_TEXT, LONGER_NEW_TEXT = part("prefill", 10.0, 11.0), part("prefill", 10.0, 40.0)
DECODE, LONGER_DECODE = part("decode", 10.0, 9.0), part("decode", 10.0, 20.0)
BLOATED, HOSTILE_ARMS = ("focused", "bloated"), ("focused", "cache-hostile")


def bloated(*parts: PartRow, lost: Losses = NOTHING) -> list[str]:
    return faults_of_bloated(document(BLOATED, parts=parts), {"focused": NOTHING, "bloated": lost})


def hostile(*parts: PartRow, lost: Losses = LOST, focused: Losses = NOTHING) -> list[str]:
    return faults_of_cache_hostile(document(HOSTILE_ARMS, parts=parts), {"focused": focused, "cache-hostile": lost})


def test_what_the_levers_do_is_right() -> None:
    assert bloated(LONGER_NEW_TEXT, LONGER_DECODE, part("tools", 1.0, 1.2)) == []
    assert hostile(*HOSTILE, NEW_TEXT, DECODE) == []


def test_bloated_is_longer_in_both_and_loses_nothing() -> None:
    assert "prefill is not shown" in bloated(part("prefill", 10.0, 10.04), LONGER_DECODE)[0]
    assert "not nearly all" in bloated(LONGER_NEW_TEXT, LONGER_DECODE, part("rest", 1.0, 20.0))[0]
    assert bloated(LONGER_NEW_TEXT, LONGER_DECODE, lost=LOST) == ["bloated lost 900 tokens to ['P1', 'P11', 'P6']"]


def test_cache_hostile_loses_to_its_own_causes_and_to_no_others() -> None:
    assert hostile(*HOSTILE, lost=Losses(9, 2, {"P1": 2, "P6": 1, "P11": 2})) == ["P6 is found in 1 of 2 dispatches"]
    more = Losses(9, 2, {**LOST.by_cause, "E2": 1})
    assert hostile(*HOSTILE, lost=more) == ["causes that the lever does not have: E2"]
    assert "seconds are charged to P1, P6, P11, E2" in hostile(*HOSTILE, part("lost", 0.0, 0.1, "E2"))
    assert "not most of it" in hostile(*HOSTILE, LONGER_NEW_TEXT)[0]


def test_the_baseline_loses_nothing() -> None:
    assert hostile(*HOSTILE, focused=Losses(5, 2, {"P1": 1})) == ["focused lost 5 tokens to ['P1']"]
    charged = (part("lost", 1.0, 60.0, "P1"), NEW_TEXT)
    assert hostile(*charged) == ["the decomposition charges focused with losses"]


@pytest.mark.parametrize("word", ["better", "equivalent", "cannot tell"])
def test_another_verdict_is_wrong(word: str) -> None:
    said = document(BLOATED, word=word, parts=(LONGER_NEW_TEXT, LONGER_DECODE))  # type: ignore[arg-type]
    assert faults_of_bloated(said, {"focused": NOTHING, "bloated": NOTHING}) == [
        f"the verdict is {word} (× 2.0), not worse"
    ]


def test_other_work_proves_nothing() -> None:
    said = document(BLOATED, parts=(LONGER_NEW_TEXT, LONGER_DECODE), turns={"bloated": 18})
    assert faults_of_bloated(said, {"focused": NOTHING, "bloated": NOTHING}) == ["the arms did not do the same turns"]


def test_an_interval_that_holds_no_difference_proves_nothing() -> None:
    said = document(BLOATED, primary=metric("time", 2.0, low=0.9, high=4.0), parts=(LONGER_NEW_TEXT, LONGER_DECODE))
    assert "the verdict is worse" in faults_of_bloated(said, {"focused": NOTHING, "bloated": NOTHING})[0]
