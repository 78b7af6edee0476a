"""The OpenAI wire: what is sent, what is made of what comes back, and what is not said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from backends.base import EngineDied, EngineFault, Evidence, Request, Stop, Target
from backends.openai import open_engine
from tests.backends.recorded_http import Playing, played, serving

CHAT = "/v1/chat/completions"
MODELS = {"/v1/models": b'{"data": [{"id": "m", "max_model_len": 4096}]}'}
HELLO = Request(({"role": "user", "content": "hello"},))


def stream(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def said(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": reason}]}


def evidence_of(usage: dict[str, Any] | None) -> Evidence:
    reply = stream(said("hi", "stop"), *([{"choices": [], "usage": usage}] if usage else []))
    with played("openai", {**MODELS, CHAT: reply}) as (engine, _):
        (evidence,) = [event for event in engine.stream(HELLO) if isinstance(event, Evidence)]
    return evidence


@pytest.mark.parametrize(
    ("details", "expected"),
    [({"cached_tokens": 64}, 64), ({"cached_tokens": 0}, 0), ({"cached_tokens": None}, None), ({}, None), (None, None)],
)
def test_what_is_not_said_about_the_cache_is_not_a_miss(details: dict[str, Any] | None, expected: int | None) -> None:
    evidence = evidence_of({"prompt_tokens": 80, "completion_tokens": 2, "prompt_tokens_details": details})
    assert evidence.prompt_tokens == 80
    assert evidence.cached_tokens == expected
    assert evidence.evaluated_tokens == (None if expected is None else 80 - expected)


def test_without_usage_nothing_is_known() -> None:
    assert evidence_of(None) == Evidence()


def test_usage_is_asked_for_and_parameters_reach_the_body() -> None:
    with played("openai", {**MODELS, CHAT: stream(said("hi", "stop"))}) as (engine, server):
        sent = Request(
            HELLO.messages, ({"type": "function"},), max_tokens=9, parameters={"top_p": 0.5, "stream": False}
        )
        list(engine.stream(sent))
        body = msgspec.json.decode(server.asked[-1][2])
        assert engine.facts().context_tokens == 4096
    assert body["stream_options"] == {"include_usage": True}
    assert body["stream"] is True
    assert (body["model"], body["max_tokens"], body["top_p"], body["temperature"]) == ("m", 9, 0.5, 0)
    assert body["tools"] == [{"type": "function"}]


def test_a_stream_that_breaks_off_is_a_fault_while_the_server_lives() -> None:
    with (
        played("openai", {**MODELS, CHAT: stream(said("hi"))}) as (engine, _),
        pytest.raises(EngineFault, match="ended the stream"),
    ):
        list(engine.stream(HELLO))


def test_a_stream_that_breaks_off_with_its_server_is_its_death() -> None:
    with serving(Playing({**MODELS, CHAT: stream(said("hi"))})) as server:
        engine = open_engine(Target("openai", url=server.url))
        events = engine.stream(HELLO)
        next(events)
    with pytest.raises(EngineDied):
        list(events)
    engine.close()


def test_an_error_inside_the_stream_is_raised() -> None:
    reply = stream(said("hi"), {"error": {"message": "boom", "code": 500}})
    with played("openai", {**MODELS, CHAT: reply}) as (engine, _), pytest.raises(EngineFault, match="boom"):
        list(engine.stream(HELLO))


def test_the_key_goes_out_and_into_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    with played("openai", {**MODELS, CHAT: stream(said("hi", "stop"))}, key_env="MY_KEY") as (engine, server):
        events: Sequence[Any] = list(engine.stream(HELLO))
        assert all(headers["Authorization"] == "Bearer s3cret" for _, headers, _ in server.asked)
        assert "s3cret" not in repr((events, engine.facts()))
    assert isinstance(events[-2], Stop)


def test_prompts_are_shown_by_vllms_endpoint_where_there_is_no_template() -> None:
    answers = {**MODELS, "/tokenize": b'{"count": 2, "tokens": [5, 6]}', "/detokenize": b'{"prompt": "hello"}'}
    with played("openai", answers) as (engine, server):
        prompt = engine.render(HELLO)
        asked = msgspec.json.decode(server.asked[-2][2])
    assert prompt is not None
    assert (prompt.text, list(prompt.token_ids)) == ("hello", [5, 6])
    assert asked["messages"] == list(HELLO.messages)
    assert asked["model"] == "m"


def test_prompts_are_unknown_where_nothing_shows_them() -> None:
    with played("openai", MODELS) as (engine, _):
        assert engine.render(HELLO) is None
