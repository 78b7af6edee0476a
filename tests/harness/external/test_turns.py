"""Turns from records: a call gets its result from the next request, and its fault from what it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Evidence, JsonObject, Request
from harness.external.recording import Recorded
from harness.external.turns import Turns, effect_of
from harness.sending import Kept
from profiler.dispatch_records import Effect
from profiler.ledger import Match
from profiler.proxy.exchange import Exchange
from profiler.records import Reply, RequestRecord, Stamps, ToolCall
from profiler.verdict import judge

TOOLS: tuple[JsonObject, ...] = ({"type": "function", "function": {"name": "read"}},)


def recorded(number: int, *messages: JsonObject, conversation: str = "main", reply: Reply | None = None) -> Recorded:
    record = RequestRecord(
        request_id=number,
        session="d",
        conversation=conversation,
        turn=0,
        repeat=0,
        fidelity="dispatch",
        forcing="none",
        sent_unix_ns=0,
        stamps=Stamps(number * 10),
        evidence=Evidence(),
        reply=reply or Reply(),
        verdict=judge(Match(None, None, False), Evidence()),
    )
    exchange = Exchange(number, "d", "POST", "/v1/chat/completions", b"", 0, number * 10, ended_ns=number * 10 + 5)
    return Recorded((record, Kept(b"", None)), exchange, Request(messages, TOOLS))


def calling(*calls: tuple[str, str, str], stop: str = "tool_calls") -> Reply:
    return Reply(stop_reason=stop, calls=tuple(ToolCall(*call) for call in calls))


def result(call_id: str, text: str) -> JsonObject:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def test_a_turn_is_complete_with_the_next_request_of_its_conversation() -> None:
    turns = Turns("d")
    assert list(turns.take(recorded(1, reply=calling(("a", "read", "{}"), ("b", "read", "{}"))))) == []
    assert list(turns.take(recorded(2, conversation="side-1", reply=Reply({"content": "title"})))) == []
    last = recorded(3, result("a", "é"), reply=Reply({"content": "done", "reasoning": "r"}))
    first, side, last_turn = turns.take(last)
    assert (first.turn, first.request_id, first.started_ns, first.ended_ns) == (0, 1, 10, 15)
    assert [(call.result, call.result_bytes) for call in first.calls] == [("é", 2), ("", 0)]
    assert first.calls[0].ok is first.calls[0].exit_code is first.calls[0].duration_ns is None
    assert (side.turn, side.content, side.events) == (1, "title", ("conversation side-1",))
    assert (last_turn.turn, last_turn.content, last_turn.reasoning, last_turn.events) == (2, "done", "r", ())
    assert list(turns.rest()) == []


@given(st.lists(st.tuples(st.sampled_from(["main", "side-1"]), st.booleans()), max_size=8))
def test_every_turn_comes_once_and_in_order(requests: list[tuple[str, bool]]) -> None:
    turns = Turns("d")
    found: list[int | None] = []
    for number, (conversation, calls) in enumerate(requests):
        reply = calling(("a", "read", "{}")) if calls else Reply({"content": "x"})
        found += [turn.request_id for turn in turns.take(recorded(number, conversation=conversation, reply=reply))]
    assert found + [turn.request_id for turn in turns.rest()] == list(range(len(requests)))


@pytest.mark.parametrize(
    ("call", "stop", "fault"),
    [
        (("a", "read", "{}"), "tool_calls", None),
        (("a", "fly", "{}"), "tool_calls", "unknown_tool"),
        (("a", "read", "{"), "tool_calls", "unparsable_args"),
        (("a", "read", "[]"), "tool_calls", "unparsable_args"),
        (("a", "read", "{"), "length", "truncated_call"),
    ],
)
def test_the_fault_of_a_call(call: tuple[str, str, str], stop: str, fault: str | None) -> None:
    turns = Turns("d")
    list(turns.take(recorded(1, reply=calling(call, stop=stop))))
    (turn,) = turns.rest()
    assert turn.calls[0].fault == fault


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("read", "load"), ("read_file", "load"), ("list-files", "load"), ("Grep", "load"),
        ("edit", "edit"), ("str_replace", "edit"), ("writeFile", "edit"), ("apply_patch", "edit"),
        ("bash", "execute"), ("run_command", "execute"), ("run_tests", "verify"), ("pytest", "verify"),
        ("run_test", "verify"), ("TodoWrite", "plan"), ("submit", "finish"), ("x", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_what_a_tool_is_for_is_told_by_its_name(name: str, effect: Effect) -> None:
    assert effect_of(name) == effect


@given(st.text(max_size=20))
def test_any_name_has_an_effect(name: str) -> None:
    assert effect_of(name)
