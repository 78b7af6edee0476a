"""The OpenAI wire: what is sent, what is made of what comes back, and what is not said."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import msgspec
import pytest

from backends import open_engine as open_any
from backends import parse_target
from backends.base import (
    Delta,
    EngineDied,
    EngineError,
    EngineFault,
    Evidence,
    Opened,
    Request,
    Stop,
    Target,
    TargetError,
)
from backends.openai import open_engine
from tests.backends.contract import CALL, RESULT, TOOL, conversation
from tests.backends.recorded_http import Playing, llama_server, played, serving

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


def events_of(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), msgspec.json.encode(e)) for e in events)


DONE = {"type": "response.completed", "response": {"status": "completed", "output": []}}


def test_a_response_is_asked_for_in_its_own_form() -> None:
    history = (*HELLO.messages, CALL, RESULT)
    with played("openai", {**MODELS, "/v1/responses": events_of(DONE)}, api="responses") as (engine, server):
        events = list(engine.stream(Request(history, (TOOL,), max_tokens=9, parameters={"top_p": 0.5})))
        path, _, sent = server.asked[-1]
    body = msgspec.json.decode(sent)
    assert path == "/v1/responses"
    assert {key: body[key] for key in ("model", "max_output_tokens", "top_p", "temperature", "store", "stream")} == {
        "model": "m", "max_output_tokens": 9, "top_p": 0.5, "temperature": 0, "store": False, "stream": True,
    }  # fmt: skip
    assert [item["type"] for item in body["input"]] == ["message", "reasoning", "function_call", "function_call_output"]
    assert body["tools"][0]["name"] == "read_file"
    assert "stream_options" not in body
    assert events == [Opened(), Stop("stop"), Evidence()]


@pytest.mark.parametrize(
    ("reply", "kind", "match"),
    [
        (events_of({"type": "response.failed", "response": {"status": "failed"}}), EngineFault, "was failed"),
        (events_of({"type": "error", "code": "server_error", "message": "boom"}), EngineFault, "boom"),
        (
            events_of({"type": "response.created", "response": {"status": "in_progress"}}),
            EngineFault,
            "ended the stream",
        ),
    ],
)
def test_a_response_without_an_end_is_an_error(reply: bytes, kind: type[EngineError], match: str) -> None:
    answers = {**MODELS, "/v1/responses": reply}
    with played("openai", answers, api="responses") as (engine, _), pytest.raises(kind, match=match):
        list(engine.stream(HELLO))


def test_completions_need_a_server_that_shows_its_template() -> None:
    with pytest.raises(TargetError, match="no prompt can be made"), played("openai", MODELS, api="completions"):
        pass


def test_an_unknown_api_names_the_known_ones() -> None:
    with pytest.raises(TargetError, match="one of chat, completions, responses"):
        open_engine(Target("openai", url="http://127.0.0.1:1", options={"api": "chats"}))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    process = llama_server()
    yield process.url
    process.close()


FORMS = (
    "openai:URL?api=chat",
    "openai:URL?api=completions",
    "openai:URL?api=responses",
    "openai-sdk:URL?api=chat",
    "openai-sdk:URL?api=completions",
    "openai-sdk:URL?api=responses",
)


@pytest.mark.engine
def test_every_form_says_the_same_of_the_same_prompts(address: str) -> None:
    """The prompt as rendered, and what was reused of it, by `timings` where they are sent and by `usage` where not."""
    found: dict[str, list[tuple[int | None, int | None]]] = {}
    for number, target in enumerate(FORMS):
        if "sdk" in target and find_spec("openai") is None:
            continue
        engine = open_any(parse_target(target.replace("URL", address)))
        try:
            opening = conversation(f"{number} agreement", tools=True, max_tokens=2)
            longer = conversation(f"{number} agreement", CALL, RESULT, tools=True, max_tokens=2)
            found[target] = []
            for request in (opening, longer, msgspec.structs.replace(longer, stream=False)):
                prompt = engine.render(request)
                (said,) = [event for event in engine.stream(request) if isinstance(event, Evidence)]
                assert prompt is not None
                assert (said.prompt_tokens, said.conflict) == (len(prompt.token_ids), None)
                found[target].append((said.prompt_tokens, said.cached_tokens))
        finally:
            engine.close()
    opened, extended, repeated = found[FORMS[0]]
    assert None not in (opened[0], extended[1])
    assert 0 < (extended[1] or 0) <= (opened[0] or 0)
    assert repeated == (extended[0], (extended[0] or 0) - 1)
    for target, counts in found.items():
        assert counts[1:] == [extended, repeated], target


@pytest.mark.engine
@pytest.mark.parametrize("target", ["openai:URL?api=responses", "openai-sdk:URL?api=chat"])
def test_a_server_that_dies_amid_a_reply_is_a_death(target: str) -> None:
    if "sdk" in target:
        pytest.importorskip("openai")
    process = llama_server()
    engine = open_any(parse_target(target.replace("URL", process.url)))
    try:
        story = conversation("story", max_tokens=4000)
        events = engine.stream(msgspec.structs.replace(story, parameters={"ignore_eos": True}))
        next(event for event in events if isinstance(event, Delta))
        os.kill(process.pids()[0], signal.SIGKILL)
        with pytest.raises(EngineDied):
            list(events)
    finally:
        engine.close()
        process.close()


def test_a_key_that_a_stream_says_is_cut_out_of_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    reply = stream(said("hi"), {"error": {"message": "no such key: s3cret", "code": 500}})
    with (
        played("openai", {**MODELS, CHAT: reply}, key_env="MY_KEY") as (engine, _),
        pytest.raises(EngineFault, match=r"no such key: \.\.\.$"),
    ):
        list(engine.stream(HELLO))
