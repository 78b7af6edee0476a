"""A note that goes with the newest message, and what only looks like one."""

from __future__ import annotations

import pytest

from backends.base import JsonObject
from profiler.causes import causes_of
from profiler.causes.base import Case
from tests.profiler.causes.world import assistant, call, result, system, turn, user

NOTE = "Plan mode is on: do not edit any file."
FILE = "\n".join(f"line {n}: the total is {n * 7} cents" for n in range(30))
HEAD = [system("You are a careful agent.\nRead before you write."), user("Find the fault in the totals.")]
CALL = assistant("I look.", call("read", '{"path": "totals.py"}', "c1"))
AGAIN = assistant("Again.", call("read", '{"path": "totals.py"}', "c2"))


def names(case: Case) -> list[str]:
    return [cause.code for cause in causes_of(case)]


def noted(message: JsonObject, *, before: bool = False) -> JsonObject:
    said = message["content"]
    return {**message, "content": f"{NOTE}\n\n{said}" if before else f"{said}\n\n{NOTE}"}


@pytest.mark.parametrize("before", [True, False])
def test_a_note_that_moves_from_a_result_to_the_next(before: bool) -> None:
    old = [*HEAD, CALL, noted(result(FILE, "c1"), before=before)]
    new = [*HEAD, CALL, result(FILE, "c1"), AGAIN, noted(result("done, nothing else", "c2"), before=before)]
    assert names(turn(old, AGAIN, new)) == ["P4"]


def test_a_note_that_moves_from_the_user_to_a_result() -> None:
    old = [HEAD[0], noted(HEAD[1])]
    new = [*HEAD, CALL, noted(result(FILE, "c1"))]
    assert names(turn(old, CALL, new)) == ["P4"]


def test_a_note_that_is_gone_for_good_is_none() -> None:
    old = [*HEAD, CALL, noted(result(FILE, "c1"))]
    new = [*HEAD, CALL, result(FILE, "c1"), AGAIN, result("done, nothing else", "c2")]
    assert names(turn(old, AGAIN, new)) == ["P11"]


def test_a_result_that_was_cleared_since_the_file_was_read_again_is_none() -> None:
    old = [*HEAD, CALL, result(FILE, "c1")]
    new = [*HEAD, CALL, result("(read again below)", "c1"), AGAIN, result(FILE, "c2")]
    assert names(turn(old, AGAIN, new)) == ["P11"]
