"""Through the `openai` client: its errors by our names, no second tries, no key anywhere, the hosted API's words."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends import parse_target
from backends.base import (
    ContextOverflow,
    Delta,
    EngineDied,
    EngineError,
    EngineFault,
    Evidence,
    Request,
    RequestRejected,
    Stop,
    Target,
    TargetError,
    Unreachable,
)
from backends.openai_sdk import OpenaiSdk, open_engine
from tests.backends.contract import CALL, RESULT
from tests.backends.recorded_http import Playing, played, serving
from tests.backends.test_openai import CHAT, HELLO, MODELS, events_of, said, stream

pytest.importorskip("openai")

ROOT = Path(__file__).parents[2]
RESPONSES = "/v1/responses"


def authorization(headers: dict[str, str]) -> str | None:
    """By any spelling: the client's transport writes its headers in small letters."""
    return next((value for name, value in headers.items() if name.lower() == "authorization"), None)


class Refusing(Playing):
    """Answers a path with an error."""

    def __init__(self, path: str, status: int, error: dict[str, Any]) -> None:
        super().__init__(MODELS)
        self._refused = (path, status, msgspec.json.encode({"error": error}))

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        refused, status, error = self._refused
        return (status, error) if path == refused else super().answer(method, path, body)


@contextmanager
def refused(status: int, error: dict[str, Any], **options: str) -> Iterator[tuple[OpenaiSdk, Refusing]]:
    path = RESPONSES if options.get("api") == "responses" else CHAT
    with serving(Refusing(path, status, error)) as server:
        engine = open_engine(Target("openai-sdk", url=server.url, options=options))
        try:
            assert isinstance(server, Refusing)
            yield engine, server
        finally:
            engine.close()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "bad", "code": 400}, RequestRejected),
        (400, {"message": "m", "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}, ContextOverflow),
        (429, {"message": "slower"}, RequestRejected),
        (500, {"message": "boom", "code": 500}, EngineFault),
        (503, {"message": "loading"}, EngineFault),
    ],
)
def test_an_error_reply_is_one_of_ours_and_is_asked_for_once(
    status: int, error: dict[str, Any], kind: type[EngineError], api: str, whole: bool
) -> None:
    with refused(status, error, api=api) as (engine, server):
        with pytest.raises(EngineError) as caught:
            list(engine.stream(msgspec.structs.replace(HELLO, stream=not whole)))
        assert len([path for path, _, _ in server.asked if path in (CHAT, RESPONSES)]) == 1
    assert type(caught.value) is kind


def test_nobody_there_is_unreachable_and_a_break_is_a_death() -> None:
    with serving(Playing({**MODELS, CHAT: stream(said("hi"))})) as server:
        engine = open_engine(Target("openai-sdk", url=server.url))
        events = engine.stream(HELLO)
        next(events)
    with pytest.raises(EngineDied):
        list(events)
    with pytest.raises(Unreachable):
        list(engine.stream(HELLO))
    engine.close()


def test_a_silent_server_is_a_fault_of_its_own() -> None:
    class Silent(Playing):
        def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
            if path == CHAT:
                released.wait(5)
            return super().answer(method, path, body)

    released = threading.Event()
    with serving(Silent({**MODELS, CHAT: b"{}"})) as server:
        engine = open_engine(Target("openai-sdk", url=server.url, options={"request_timeout_s": "0.2"}))
        with pytest.raises(EngineFault, match=r"sent nothing for 0\.2 s"):
            list(engine.stream(HELLO))
        released.set()
        engine.close()


@pytest.mark.parametrize(
    ("path", "reply", "match"),
    [
        (CHAT, stream(said("hi"), {"error": {"message": "boom", "code": 500}}), "boom"),
        (CHAT, stream(said("hi")), "ended the stream"),
        (CHAT, b"data: {broken\n\n", "cannot be parsed"),
        (CHAT, b"<html>", "cannot be parsed|ended the stream"),
        (RESPONSES, events_of({"type": "error", "code": "server_error", "message": "boom"}), "boom"),
        (RESPONSES, events_of({"type": "response.failed", "response": {"status": "failed"}}), "was failed"),
        (RESPONSES, events_of({"type": "response.created", "response": {"status": "in_progress"}}), "ended the stream"),
    ],
)
def test_a_stream_that_fails_is_a_fault(path: str, reply: bytes, match: str) -> None:
    api = "responses" if path == RESPONSES else "chat"
    with (
        played("openai-sdk", {**MODELS, path: reply}, api=api) as (engine, _),
        pytest.raises(EngineFault, match=match),
    ):
        list(engine.stream(HELLO))


def test_a_whole_reply_that_is_no_json_is_a_fault() -> None:
    with played("openai-sdk", {**MODELS, CHAT: b"data: x"}) as (engine, _), pytest.raises(EngineFault, match="parsed"):
        list(engine.stream(msgspec.structs.replace(HELLO, stream=False)))


@pytest.mark.parametrize("details", [{"cached_tokens": 64}, {"cached_tokens": 0}, {"cached_tokens": None}, {}, None])
def test_what_the_client_fills_in_is_not_taken_for_evidence(details: dict[str, Any] | None) -> None:
    usage = {"prompt_tokens": 80, "completion_tokens": 2, "prompt_tokens_details": details}
    reply = stream(said("hi", "stop"), {"choices": [], "usage": usage, "timings": {"prompt_ms": 1.5}})
    with played("openai-sdk", {**MODELS, CHAT: reply}) as (engine, _):
        events = list(engine.stream(HELLO))
    evidence = events[-1]
    assert isinstance(evidence, Evidence)
    assert events[1:3] == [Delta("content", "hi"), Stop("stop")]
    assert (evidence.prompt_tokens, evidence.generated_tokens, evidence.prefill_ns) == (80, 2, 1_500_000)
    assert evidence.cached_tokens == (details or {}).get("cached_tokens")


def test_the_key_goes_out_and_into_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    answers = {**MODELS, CHAT: stream(said("hi", "stop"), {"error": {"message": "bad s3cret", "code": 400}})}
    with played("openai-sdk", answers, key_env="MY_KEY") as (engine, server):
        with pytest.raises(RequestRejected) as caught:
            list(engine.stream(HELLO))
        assert all(authorization(headers) == "Bearer s3cret" for _, headers, _ in server.asked)
        assert "s3cret" not in repr((engine.facts(), str(caught.value)))
    with refused(401, {"message": "wrong key s3cret"}, key_env="MY_KEY") as (engine, _):
        with pytest.raises(RequestRejected, match="401") as caught:
            list(engine.stream(HELLO))
        assert "s3cret" not in str(caught.value)
        assert "key_env=NAME" in str(caught.value.hint)


def test_the_key_of_the_environment_is_not_sent_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "s3cret-admin")
    with played("openai-sdk", {**MODELS, CHAT: stream(said("hi", "stop"))}, key_env="none") as (engine, server):
        list(engine.stream(HELLO))
        assert "s3cret" not in repr([headers for _, headers, _ in server.asked])


@pytest.mark.parametrize("written", ["openai-sdk:gpt-x", "openai-sdk:#gpt-x"])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_model_without_an_address_is_the_hosted_api(written: str, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is the client's, which the environment can name: here, a server that stands for it."""
    done = {"type": "response.completed", "response": {"status": "completed", "output": []}}
    with serving(Playing({**MODELS, CHAT: stream(said("hi", "stop")), RESPONSES: events_of(done)})) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
        engine = open_engine(parse_target(f"{written}?api={api}"))
        assert engine.facts().model == "gpt-x"
        assert engine.render(HELLO) is None
        list(engine.stream(Request((*HELLO.messages, CALL, RESULT), max_tokens=9)))
        engine.close()
        paths = [path for path, _, _ in server.asked]
        _, headers, sent = server.asked[-1]
    body = msgspec.json.decode(sent)
    assert paths == ["/v1/models", RESPONSES if api == "responses" else CHAT]
    assert authorization(headers) == "Bearer s3cret"
    assert "temperature" not in body
    assert "max_tokens" not in body
    assert body["max_output_tokens" if api == "responses" else "max_completion_tokens"] == 9
    assert b"I should look at it first" not in sent


def test_the_hosted_api_needs_a_key_and_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(TargetError, match=r"OPENAI_API_KEY holds no key for api\.openai\.com"):
        open_engine(parse_target("openai-sdk:gpt-x"))
    with pytest.raises(TargetError, match="needs an address or a model"):
        open_engine(parse_target("openai-sdk:"))


def test_without_the_package_the_extra_is_named() -> None:
    code = """import sys
sys.modules["openai"] = None
from backends import load, open_engine, parse_target
from backends.base import MissingExtra
load("openai-sdk").Options
try:
    open_engine(parse_target("openai-sdk:gpt-x"))
except MissingExtra as error:
    print(error, "|", error.hint)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "engine openai-sdk needs the package openai | pip install 'llmdyno[openai]'"
