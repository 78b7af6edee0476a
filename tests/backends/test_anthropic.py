"""The Anthropic wire: counts that leave out the cache, events, keys."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.anthropic import PATH
from backends.base import Delta, EngineFault, Evidence, Request, Stop
from backends.wire import message_evidence
from profiler.measure import measure
from profiler.records import ToolCall
from tests.backends.contract import TOOL
from tests.backends.recorded_http import played

MODELS = {"/v1/models": b'{"data": [{"id": "m"}]}'}
HELLO = Request(({"role": "system", "content": "s"}, {"role": "user", "content": "hello"}), (TOOL,), max_tokens=7)


def stream(*events: dict[str, Any]) -> bytes:
    lines = (b"event: " + event["type"].encode() + b"\ndata: " + msgspec.json.encode(event) for event in events)
    return b"".join(line + b"\n\n" for line in lines)


START: dict[str, Any] = {
    "type": "message_start",
    "message": {"usage": {"input_tokens": 3, "cache_read_input_tokens": 64}},
}
END: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 3, "cache_read_input_tokens": 64}, (67, 64, 3)),
        ({"input_tokens": 3, "cache_read_input_tokens": 0}, (3, 0, 3)),
        ({"input_tokens": 3, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10}, (73, 60, 13)),
        ({"input_tokens": 3, "cache_read_input_tokens": None}, (None, None, None)),
        ({"input_tokens": 3}, (None, None, None)),
        ({}, (None, None, None)),
    ],
)
def test_input_tokens_leave_out_the_cache(usage: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    """Without the cached part even the length of the prompt is unknown, and never a miss."""
    said = message_evidence(usage)
    assert (said.prompt_tokens, said.cached_tokens, said.evaluated_tokens) == expected
    assert said.conflict is None


def test_a_stream_is_read_block_by_block() -> None:
    reply = stream(
        START,
        {"type": "ping"},
        {"type": "content_block_start", "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "so"}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x"}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "read", "input": {}}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": ""}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
        {"type": "content_block_stop"},
        END,
        {"type": "message_stop"},
    )
    with played("anthropic", {**MODELS, PATH: reply}) as (engine, server):
        events = list(engine.stream(HELLO))
        _, headers, body = server.asked[-1]
    deltas = [(event.kind, event.text) for event in events if isinstance(event, Delta)]
    assert deltas == [("reasoning", "so"), ("content", "hi"), ("tool_call", "read"), ("tool_call", '{"a":1}')]
    assert isinstance(events[-2], Stop)
    assert events[-2].reason == "end_turn"
    assert isinstance(events[-1], Evidence)
    assert (events[-1].prompt_tokens, events[-1].cached_tokens, events[-1].generated_tokens) == (67, 64, 5)
    sent = msgspec.json.decode(body)
    assert (sent["system"], sent["max_tokens"], sent["tools"][0]["name"]) == ("s", 7, "read_file")
    assert headers["anthropic-version"]


def test_calls_are_told_apart_by_their_block_streamed_and_whole() -> None:
    def block(index: int, name: str) -> list[dict[str, Any]]:
        use = {"type": "tool_use", "id": f"t{index}", "name": name, "input": {}}
        pieces = ({"type": "input_json_delta", "partial_json": text} for text in ('{"a":', "1}"))
        start: dict[str, Any] = {"type": "content_block_start", "index": index, "content_block": use}
        return [start, *({"type": "content_block_delta", "index": index, "delta": piece} for piece in pieces)]

    expected = (ToolCall("t1", "read", '{"a":1}'), ToolCall("t2", "list", '{"a":1}'))
    uses = [{"type": "tool_use", "id": call.id, "name": call.name, "input": {"a": 1}} for call in expected]
    whole = {"type": "message", "content": [{"type": "text", "text": "so"}, *uses], "stop_reason": "tool_use"}
    streamed = stream(START, *block(1, "read"), *block(2, "list"), END)
    for reply, request in (
        (streamed, HELLO),
        (msgspec.json.encode(whole), msgspec.structs.replace(HELLO, stream=False)),
    ):
        with played("anthropic", {**MODELS, PATH: reply}) as (engine, _):
            assert measure(engine, request).reply.calls == expected


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        (stream(START, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}), "busy"),
        (stream(START), "ended the stream"),
        (b"data: {\n\n", "cannot be parsed"),
    ],
)
def test_a_reply_that_goes_wrong_is_a_fault(reply: bytes, match: str) -> None:
    with played("anthropic", {**MODELS, PATH: reply}) as (engine, _), pytest.raises(EngineFault, match=match):
        list(engine.stream(HELLO))


def test_the_key_has_a_header_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "s3cret")
    with played("anthropic", {**MODELS, PATH: stream(START, END)}) as (engine, server):
        list(engine.stream(HELLO))
        assert all(headers["x-api-key"] == "s3cret" for _, headers, _ in server.asked)
