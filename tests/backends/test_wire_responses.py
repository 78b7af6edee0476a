"""Replies of `/v1/responses`: events as documented by OpenAI, and as llama-server sends them; what is not said is None.

The examples with summaries, refusals, an incomplete and a failed response are written from OpenAI's documentation (the
types of the `openai` package 3.52), since llama-server sends none of them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import CallPart, ContextOverflow, Delta, EngineError, EngineFault, RequestRejected
from backends.wire import ResponseChunk, decode_chunk, decode_response, evidence_of, stream_error

COUNT = st.integers(0, 10_000)


def read(**fields: Any) -> ResponseChunk:
    return decode_response(msgspec.json.encode(fields))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("response.output_text.delta", Delta("content", "x")),
        ("response.refusal.delta", Delta("content", "x")),
        ("response.reasoning_text.delta", Delta("reasoning", "x")),
        ("response.reasoning_summary_text.delta", Delta("reasoning", "x")),
        ("response.function_call_arguments.delta", Delta("tool_call", "x", call=CallPart(2, arguments="x"))),
        ("response.custom_tool_call_input.delta", Delta("tool_call", "x", call=CallPart(2, arguments="x"))),
        ("response.audio.delta", None),
        ("response.output_text.done", None),
    ],
)
def test_a_delta_is_text_of_its_kind(kind: str, expected: Delta | None) -> None:
    assert read(type=kind, delta="x", text="x", output_index=2, sequence_number=4).deltas() == (
        [expected] if expected else []
    )


def test_a_call_begins_with_its_name_and_is_not_said_twice() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": ""}
    whole = {**call, "arguments": "{}"}
    begun = Delta("tool_call", "f", call=CallPart(0, "call_1", "f"))
    assert read(type="response.output_item.added", item=call).deltas() == [begun]
    assert read(type="response.output_item.done", item=whole).deltas() == []
    ended = read(type="response.completed", response={"status": "completed", "output": [whole]})
    assert (ended.deltas(), ended.finish_reason()) == ([], "tool_calls")


def test_a_whole_reply_gives_its_items_in_order() -> None:
    reply = read(
        object="response",
        status="completed",
        output=[
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "short"}], "content": None},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "long"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "name": "g", "input": "text"},
            {"type": "web_search_call", "status": "completed"},
        ],
    )
    said = [
        ("reasoning", "short"),
        ("reasoning", "long"),
        ("content", "ab"),
        ("tool_call", "f{}"),
        ("tool_call", "gtext"),
    ]
    assert [(delta.kind, delta.text) for delta in reply.deltas()] == said
    calls = [CallPart(3, name="f", arguments="{}"), CallPart(4, name="g", arguments="text")]
    assert [delta.call for delta in reply.deltas() if delta.call] == calls
    assert reply.finish_reason() == "tool_calls"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"status": "completed", "output": []}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete"),
        ({"status": "in_progress"}, None),
        ({"status": "queued"}, None),
    ],
)
def test_the_reason_to_stop_is_said_in_the_words_of_chat(response: dict[str, Any], reason: str | None) -> None:
    assert read(type="response.completed", response=response).finish_reason() == reason
    assert read(object="response", **response).finish_reason() == reason


@pytest.mark.parametrize(
    ("fields", "kind", "match"),
    [
        ({"type": "error", "code": "server_error", "message": "boom", "param": None}, EngineFault, "boom"),
        ({"type": "error", "error": {"code": 500, "message": "boom"}}, EngineFault, "boom"),
        ({"error": {"code": 400, "message": "bad"}}, RequestRejected, "bad"),
        (
            {
                "type": "response.failed",
                "response": {"status": "failed", "error": {"code": "server_error", "message": "b"}},
            },
            EngineFault,
            "b",
        ),
        ({"type": "response.failed", "response": {"status": "failed", "error": None}}, EngineFault, "was failed"),
        (
            {"object": "response", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slower"}},
            RequestRejected,
            "429",
        ),
        ({"object": "response", "status": "cancelled"}, EngineFault, "was cancelled"),
        ({"type": "error", "code": "context_length_exceeded", "message": "too long"}, ContextOverflow, "too long"),
    ],
)
def test_a_failure_is_an_error_of_the_tree(fields: dict[str, Any], kind: type[EngineError], match: str) -> None:
    error = stream_error(read(**fields).error)
    assert type(error) is kind
    assert match in str(error)


def test_no_error_is_none() -> None:
    assert read(type="response.created", response={"status": "in_progress", "error": None}).error is None
    assert read(object="response", status="completed", error=None, output=[]).error is None


@given(
    total=st.none() | COUNT,
    details=st.none() | st.just({}) | st.fixed_dictionaries({"cached_tokens": st.none() | COUNT}),
    streamed=st.booleans(),
)
def test_what_is_not_reported_is_never_a_miss(
    total: int | None, details: dict[str, Any] | None, streamed: bool
) -> None:
    usage = {"input_tokens": total, "input_tokens_details": details, "output_tokens": 2}
    response = {"status": "completed", "usage": usage}
    chunk = read(type="response.completed", response=response) if streamed else read(**response)
    said = evidence_of(chunk.usage, chunk.timings)
    cached = (details or {}).get("cached_tokens")
    assert (said.prompt_tokens, said.cached_tokens, said.generated_tokens) == (total, cached, 2)
    if cached is None or total is None:
        assert said.evaluated_tokens is None


def test_the_engines_own_timings_stand_beside_the_response_and_must_agree_with_it() -> None:
    timings = {"cache_n": 7, "prompt_n": 3, "prompt_ms": 1.5}
    usage = {"input_tokens": 10, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 7}}
    chunk = read(type="response.completed", timings=timings, response={"status": "completed", "usage": usage})
    said = evidence_of(chunk.usage, chunk.timings)
    assert (said.prompt_tokens, said.cached_tokens, said.prefill_ns, said.conflict) == (10, 7, 1_500_000, None)
    usage["input_tokens_details"] = {"cached_tokens": 6}
    assert "usage says 6" in str(evidence_of(usage, timings).conflict)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_are_a_fault(payload: bytes) -> None:
    with suppress(EngineFault):
        assert isinstance(decode_response(payload).deltas(), list)


def test_a_completion_is_content() -> None:
    chunk = decode_chunk(b'{"choices":[{"text":"<think>a","index":0,"logprobs":null,"finish_reason":"length"}]}')
    assert chunk.deltas() == [Delta("content", "<think>a")]
    assert chunk.finish_reason() == "length"
