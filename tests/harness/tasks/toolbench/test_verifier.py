"""Scores of ledgers: all, nothing, and shares in between."""

from __future__ import annotations

from typing import Any

import pytest

from harness.tasks.toolbench.verifier import score

LOOK = {"name": "read_card", "arguments": {"card": "a-1"}}
OPEN = {"name": "open_box", "arguments": {"box": "b-2"}}
OTHER = {"name": "open_box", "arguments": {"box": "b-3"}}
EXPECTED = {"answer": "amber-4127", "calls": [LOOK, OPEN]}
NOTHING = {"answer": "none", "calls": []}


def submit(answer: str) -> dict[str, Any]:
    return {"name": "submit", "arguments": {"answer": answer}}


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([LOOK, OPEN, submit("amber-4127")], 1.0),
        ([LOOK, OTHER, OPEN, submit("amber-4127")], 1.0),
        ([LOOK, OPEN, submit("amber-4128")], 0.5),
        ([LOOK, OPEN], 0.5),
        ([LOOK, submit("amber-4127")], 0.25),
        ([OPEN, LOOK], 0.25),
        ([submit("amber-4127")], 0.0),
        ([submit("amber-4128"), LOOK, OPEN, submit("amber-4127")], 0.5),
        ([], 0.0),
    ],
)
def test_the_score_is_by_the_answer_and_the_calls_before_it(rows: list[dict[str, Any]], wanted: float) -> None:
    assert score(rows, EXPECTED)["score"] == wanted


@pytest.mark.parametrize(("rows", "wanted"), [([submit("none")], 1.0), ([submit("amber-1")], 0.0), ([], 0.0)])
def test_where_nothing_can_be_known_only_that_is_right(rows: list[dict[str, Any]], wanted: float) -> None:
    assert score(rows, NOTHING)["score"] == wanted


def test_an_invented_answer_is_worth_nothing_after_the_right_calls_too() -> None:
    reward = score([LOOK, OPEN, submit("amber-1")], {**EXPECTED, "answer": "none"})
    assert reward["score"] == 0.0
    assert "an answer was made up: no tool gives one" in reward["notes"]


def test_the_parts_say_what_was_done() -> None:
    reward = score([LOOK, submit("TODO")], EXPECTED)
    assert reward["parts"] == {"steps_done": 1, "steps": 2, "calls": 1, "submitted": True, "right_answer": False}
    assert reward["notes"] == ["the submitted answer is wrong", "calls that it takes and that were not made: 1"]
