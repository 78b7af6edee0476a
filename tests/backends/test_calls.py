"""Tool calls of one reply of the real llama-server, taken apart in every form in which it can be asked."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from backends import open_engine, parse_target
from backends.base import Request
from profiler.measure import measure
from profiler.records import ToolCall
from tests.backends.recorded_http import MODEL, llama_server
from tests.tiny_model.chats import EVERYDAY_TOOLS

pytestmark = pytest.mark.engine

REQUEST = Request(
    (
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the weather in Paris monday?"},
    ),
    tuple(EVERYDAY_TOOLS),
)
ARGUMENTS = {"city": "Paris", "day": "monday"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("xllamacpp")
    process = llama_server()
    yield process.url
    process.close()


def call_of(target: str, request: Request) -> ToolCall:
    engine = open_engine(parse_target(target))
    try:
        measured = measure(engine, request)
    finally:
        engine.close()
    assert measured.error is None
    assert measured.reply.stop_reason in ("tool_calls", "tool_use")
    (call,) = measured.reply.calls
    assert measured.reply.text["tool_call"] == call.name + call.arguments
    return call


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    "target",
    [
        "llama-server:{url}",
        "openai:{url}",
        "openai:{url}?api=responses",
        "openai-sdk:{url}",
        "openai-sdk:{url}?api=responses",
        "anthropic:{url}",
    ],
)
def test_a_call_of_llama_server_has_its_name_and_arguments(server: str, target: str, streamed: bool) -> None:
    if target.startswith("openai-sdk"):
        pytest.importorskip("openai")
    call = call_of(target.format(url=server), msgspec.structs.replace(REQUEST, stream=streamed))
    assert (call.name, msgspec.json.decode(call.arguments)) == ("get_weather", ARGUMENTS)
    assert call.id


def test_in_process_the_text_between_the_tags_is_left() -> None:
    pytest.importorskip("llama_cpp")
    engine = open_engine(parse_target(f"llama-cpp:{MODEL}?threads=1&ctx=1024"))
    try:
        reply = measure(engine, REQUEST).reply
    finally:
        engine.close()
    assert reply.calls == ()
    assert msgspec.json.decode(reply.text["tool_call"]) == {"name": "get_weather", "arguments": ARGUMENTS}
