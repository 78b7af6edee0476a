"""Two histories, message by message: what was edited, put in, taken out or replaced."""

from __future__ import annotations

import pytest

from backends.base import JsonObject
from profiler.causes.message_difference import message_changes
from profiler.causes.sides import Side
from tests.profiler.causes.world import assistant, call, result, step, system, user

OLD = [
    system("Be brief."), user("Find the fault in the invoice export."), assistant("Reading.", call("read", "{}", "c1")),
    result("def total(): ...", "c1"), assistant("It is here."), user("Fix it."),
]  # fmt: skip
REPLY = assistant("Fixed.")


def compared(new: list[JsonObject], old: list[JsonObject] | None = None) -> tuple[list[tuple[str, str]], int]:
    sides = [Side.of(step(messages, None)) for messages in (old if old is not None else OLD, new)]
    found, reply_at = message_changes(sides[0], sides[1], ["Fixed."])
    return [(one.kind, one.place.path) for one in found], reply_at


@pytest.mark.parametrize(
    ("new", "found", "reply_at"),
    [
        ([*OLD, REPLY, user("Thanks.")], [], 6),
        (OLD, [], 6),
        ([*OLD, user("Are you there?")], [], 6),
        ([system("Be long."), *OLD[1:], REPLY], [("changed", "messages[0].content")], 6),
        ([*OLD[:1], *OLD[3:], REPLY], [("removed", "messages[1:3]")], 4),
        ([*OLD[:1], user("Summary."), *OLD[4:], REPLY], [("changed", "messages[1:4]")], 4),
        ([*OLD[:4], user("[note]"), *OLD[4:], REPLY], [("inserted", "messages[4]")], 7),
        ([*OLD[:5], user("[10:04] Fix it."), REPLY, user("x")], [("changed", "messages[5].content")], 6),
        ([*OLD[:3], result("[cleared]", "c1"), *OLD[4:], REPLY], [("changed", "messages[3].content")], 6),
        ([OLD[0], user("Summary."), REPLY, user("x")], [("changed", "messages[1:6]")], 2),
        ([OLD[0]], [("removed", "messages[1:6]")], 1),
        ([], [("removed", "messages[0:6]")], 0),
    ],
    ids=[
        "append", "again", "no reply", "system", "window", "summary", "note", "stamp", "cleared", "all", "reset",
        "none",
    ],
)  # fmt: skip
def test_what_changed_is_named(new: list[JsonObject], found: list[tuple[str, str]], reply_at: int) -> None:
    assert compared(new) == (found, reply_at)


def test_a_message_with_another_id_is_the_same_message() -> None:
    """What it says did not change; whether a template shows the id is for the rendered text to say."""
    new = [*OLD[:3], {**OLD[3], "tool_call_id": "other"}, *OLD[4:], REPLY]
    assert compared(new) == ([("changed", "messages[3]")], 6)


def test_equal_messages_in_a_row_lose_as_many_as_are_missing() -> None:
    polls = [m for _ in range(9) for m in (assistant("wait"), result("running"))]
    found, _ = compared([OLD[0], *polls[4:], REPLY], [OLD[0], *polls])
    assert [kind for kind, _ in found] == ["removed"]


def test_an_argument_has_its_path() -> None:
    new = [*OLD[:2], assistant("Reading.", call("read", '{"a": 1}', "c1")), *OLD[3:], REPLY]
    assert compared(new)[0] == [("changed", "messages[2].tool_calls[0].function.arguments")]
