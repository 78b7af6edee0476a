"""Recorded bytes read as an adapter would have read them: in every cut, whole or streamed, complete or broken off."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.proxy.exchange import CHAT, CLIENT_LEFT, RESPONSES, Exchange, Piece, is_inference, measured, request_of
from profiler.proxy.exchange import MESSAGES as MESSAGES_PATH
from profiler.records import Failure, ToolCall

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
TIMINGS = {"cache_n": 7, "prompt_n": 3, "prompt_ms": 1.5, "predicted_n": 2, "predicted_ms": 4.0}


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}


STREAM = (
    chunk({"role": "assistant", "content": None}),
    chunk({"reasoning_content": "so"}),
    chunk({"content": "hé"}),
    chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    chunk({}, "tool_calls", timings=TIMINGS),
)


def sse(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + msgspec.json.encode(c) + b"\n\n" for c in chunks) + b"data: [DONE]\n\n"


def exchange(*pieces: bytes, path: str = CHAT, status: int | None = 200, **more: Any) -> Exchange:
    """Sent at 1000; the headers come at 1010, the pieces at 1020, 1030, …"""
    stamped = tuple(Piece(1020 + 10 * at, data) for at, data in enumerate(pieces))
    body = msgspec.json.encode({"messages": MESSAGES, "stream": True})
    opened = 1010 if status is not None else None
    values: dict[str, Any] = {"ended_ns": 9000, "status": status, "headers_ns": opened, "pieces": stamped, **more}
    return Exchange(1, "d", "POST", path, body, 5, 1000, **values)


@given(cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_a_stream_says_the_same_however_it_was_cut(cuts: list[int]) -> None:
    data = sse(*STREAM)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    found = measured(exchange(*(data[start:end] for start, end in pairwise(edges))))
    assert found.error is None
    assert found.reply.text == {"reasoning": "so", "content": "hé", "tool_call": "f{}"}
    assert found.reply.calls == (ToolCall("a", "f", "{}"),)
    assert (found.evidence.prompt_tokens, found.evidence.cached_tokens, found.evidence.prefill_ns) == (10, 7, 1_500_000)
    assert (found.stamps.sent_ns, found.stamps.first_sign_ns, found.stamps.done_ns) == (1000, 1010, 9000)


def test_a_text_has_the_stamp_of_the_bytes_that_completed_it() -> None:
    first, rest = sse(STREAM[1]).removesuffix(b"data: [DONE]\n\n"), sse(*STREAM[2:])
    found = measured(exchange(first[:10], first[10:], rest))
    assert found.stamps.first_delta_ns == 1030
    assert found.stamps.first_output_ns == 1040
    assert found.stamps.deltas_ns == (1030, 1040, 1040, 1040)


def test_a_whole_reply_is_read_at_once() -> None:
    message = {"content": "hi", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}
    whole = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 4}}
    found = measured(exchange(msgspec.json.encode(whole)))
    assert found.reply.calls == (ToolCall("a", "f", "{}"),)
    assert (found.evidence.prompt_tokens, found.evidence.cached_tokens) == (4, None)
    assert found.stamps.first_delta_ns == 1020


def test_responses_are_read_too() -> None:
    events = (
        {"type": "response.output_text.delta", "delta": "hi"},
        {"type": "response.completed", "response": {"status": "completed", "usage": {"input_tokens": 4}}},
    )
    recorded = exchange(sse(*events), path=RESPONSES)
    found = measured(recorded)
    assert (found.reply.text, found.reply.stop_reason, found.error) == ({"content": "hi"}, "stop", None)
    assert found.evidence.prompt_tokens == 4


def test_messages_count_in_two_events() -> None:
    events = (
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "cache_read_input_tokens": 64}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    )
    found = measured(exchange(sse(*events), path=MESSAGES_PATH))
    assert (found.reply.text, found.reply.stop_reason, found.error) == ({"content": "hi"}, "end_turn", None)
    said = found.evidence
    assert (said.prompt_tokens, said.cached_tokens, said.generated_tokens) == (67, 64, 5)
    alone = {"type": "message", "stop_reason": "end_turn", "usage": {"input_tokens": 3}}
    assert measured(exchange(msgspec.json.encode(alone), path=MESSAGES_PATH)).evidence.prompt_tokens is None


def test_what_ended_a_reply_early_is_its_error_and_what_came_stands() -> None:
    left = Failure(CLIENT_LEFT, "left")
    cut = sse(STREAM[2]).removesuffix(b"data: [DONE]\n\n")
    found = measured(exchange(cut, error=left))
    assert (found.error, found.reply.text, found.stamps.done_ns) == (left, {"content": "hé"}, None)
    assert measured(exchange(cut)).error == Failure("EngineFault", "the server ended the reply before it was complete")
    assert measured(exchange(status=None, error=left)).error == left


def test_an_agent_that_leaves_after_the_last_chunk_left_a_complete_reply() -> None:
    """Clients close the connection at `[DONE]`, before the server does."""
    assert measured(exchange(sse(*STREAM), error=Failure(CLIENT_LEFT, "left"))).error is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error": {"type": "exceed_context_size_error", "message": "m"}}', "ContextOverflow"),
        (400, b'{"error": {"message": "bad"}}', "RequestRejected"),
        (500, b"oops", "EngineFault"),
        (200, sse({"error": {"code": 500, "message": "boom"}}), "EngineFault"),
        (200, b"{", "EngineFault"),
        (200, b"<html>", "EngineFault"),
        (200, b"", "EngineFault"),
    ],
)
def test_a_refusal_is_an_error_of_the_tree(status: int, body: bytes, kind: str) -> None:
    error = measured(exchange(body, status=status)).error
    assert error is not None
    assert error.kind == kind


@given(st.lists(st.binary(max_size=40), max_size=4), st.sampled_from([CHAT, RESPONSES, MESSAGES_PATH]))
def test_any_reply_is_read_or_is_a_failure(pieces: list[bytes], path: str) -> None:
    found = measured(exchange(*pieces, path=path))
    assert found.error is not None or found.reply.stop_reason is not None


def test_the_log_of_a_request_belongs_to_its_evidence() -> None:
    line = "slot update_slots: id  2 | task 7 | kv cache rm [5, end)"
    found = measured(exchange(sse(*STREAM)), line)
    assert (found.evidence.slot, len(found.evidence.log)) == (2, 1)


def test_the_request_keeps_what_its_prompt_is_made_of() -> None:
    body = {"model": "m", "messages": MESSAGES, "tools": [{"type": "function"}], "top_p": 0.5, "max_tokens": 9}
    recorded = msgspec.structs.replace(exchange(), body=msgspec.json.encode(body))
    request = request_of(recorded)
    assert request is not None
    assert (request.messages, request.tools, request.stream) == (tuple(MESSAGES), ({"type": "function"},), False)
    assert request.max_tokens == 9
    assert request.parameters == {"top_p": 0.5, "max_tokens": 9}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"messages": 3}', b'{"messages": ["x"]}', b"\xff"])
def test_a_body_that_is_no_chat_shows_no_messages(body: bytes) -> None:
    assert request_of(msgspec.structs.replace(exchange(), body=body)) is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RESPONSES, {"input": "hello", "instructions": "s", "max_output_tokens": 9, "reasoning": {}}),
        (MESSAGES_PATH, {"messages": MESSAGES, "system": "s", "max_tokens": 9, "thinking": {}}),
    ],
)
def test_other_forms_show_the_chat_that_they_ask_for(path: str, body: dict[str, Any]) -> None:
    request = request_of(msgspec.structs.replace(exchange(path=path), body=msgspec.json.encode(body)))
    assert request is not None
    assert request.messages == ({"role": "system", "content": "s"}, *MESSAGES)
    assert (request.max_tokens, request.parameters) == (9, {})
    assert request_of(msgspec.structs.replace(exchange(path="/v1/completions"), body=b'{"prompt": "x"}')) is None


@given(st.recursive(st.none() | st.text(max_size=4) | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_any_value_in_a_body_is_read_or_shows_nothing(value: Any) -> None:
    for path in (CHAT, RESPONSES, MESSAGES_PATH):
        for key in ("messages", "input", "tools", "system", "instructions"):
            body = msgspec.json.encode({"messages": MESSAGES, "input": "x", key: value})
            request_of(msgspec.structs.replace(exchange(path=path), body=body))


def test_only_questions_to_a_model_are_records() -> None:
    assert is_inference(exchange())
    assert not is_inference(msgspec.structs.replace(exchange(), method="GET"))
    assert not is_inference(exchange(path="/v1/models"))
