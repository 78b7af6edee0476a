"""Requests find their conversation by what they hold."""

from __future__ import annotations

from typing import Any

import pytest

from backends.base import JsonObject, Request
from harness.external.conversations import Conversations, text_of
from profiler.records import Reply, ToolCall


def system(text: str) -> JsonObject:
    return {"role": "system", "content": text}


def user(text: str) -> JsonObject:
    return {"role": "user", "content": text}


def said(text: str = "", *call_ids: str) -> JsonObject:
    return {"role": "assistant", "content": text, "tool_calls": [{"id": call_id} for call_id in call_ids]}


def reply(text: str = "", *call_ids: str) -> Reply:
    return Reply({"content": text} if text else {}, calls=tuple(ToolCall(i, "f", "{}") for i in call_ids))


def request(*messages: JsonObject) -> Request:
    return Request(messages)


def test_the_same_beginning_is_the_same_conversation() -> None:
    known = Conversations()
    assert known.place(request(system("s"), user("a"))) == ("main", 0)
    assert known.place(request(system("s"), user("a"), said("x"), user("b"))) == ("main", 1)
    assert known.place(request(system("s"), user("a"))) == ("main", 2)
    assert known.place(request(system("title"), user("a"))) == ("side-1", 0)
    assert known.place(request(system("s"), user("other"))) == ("side-2", 0)
    assert known.place(request(system("title"), user("a"))) == ("side-1", 1)


@pytest.mark.parametrize("answer", [("well",), ("", "call-1"), (" well\n", "call-2")])
def test_a_history_that_holds_a_reply_continues_it_though_its_beginning_changed(answer: tuple[str, ...]) -> None:
    known = Conversations()
    name, _ = known.place(request(system("10:00"), user("a")))
    known.note(name, reply(*answer))
    known.place(request(system("side"), user("b")))
    assert known.place(request(system("10:01"), user("a"), said(*answer), user("c"))) == ("main", 1)
    assert known.place(request(system("10:02"), user("a"), said("never given"))) == ("side-2", 0)


def test_nothing_said_marks_nothing() -> None:
    known = Conversations()
    name, _ = known.place(request(user("a")))
    known.note(name, reply(""))
    assert known.place(request(user("b"), said(""))) == ("side-1", 0)


def test_requests_that_show_no_messages_are_one_conversation() -> None:
    known = Conversations()
    assert [known.place(None), known.place(None)] == [("main", 0), ("main", 1)]


@pytest.mark.parametrize(
    ("content", "text"),
    [("a", "a"), ([{"type": "text", "text": "a"}, {"type": "image_url"}, {"text": "b"}, 3], "ab"), (None, ""), (3, "")],
)
def test_the_text_of_a_content(content: Any, text: str) -> None:
    assert text_of(content) == text
