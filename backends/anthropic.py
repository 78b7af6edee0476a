"""Any server with an Anthropic interface, attached by its address: `/v1/messages`, streamed or not.

`usage.input_tokens` leaves out what was read from the cache, so the prompt is known only where
`cache_read_input_tokens` is sent too; without it neither is. Messages and tools are brought to that form and the reply
back. Prompts are shown if the server offers llama-server's `/apply-template`. Output cannot be forced here.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from backends import wire
from backends.base import EngineError, Event, Facts, JsonObject, Opened, Prompt, Request, Stop, Target
from backends.http_chat.access import address_of, key_of, model_entry
from backends.http_chat.chat import Renderer, text_of
from backends.http_chat.connection import Connection, payloads
from backends.http_chat.rendering import find_renderer
from backends.options import convert_options
from backends.wire.message_blocks import from_blocks, to_blocks, to_tools

__all__ = ["Anthropic", "Options", "open_engine"]

PATH = "/v1/messages"
VERSION = "2023-06-01"
"""Of the interface, not of a model; the only one that servers check for."""


class Options(msgspec.Struct, frozen=True):
    """`key_env` names the environment variable that holds the key (unset: ANTHROPIC_API_KEY; `none`: no key)."""

    key_env: str | None = None
    request_timeout_s: float = 3600.0


def open_engine(target: Target) -> Anthropic:
    """Attach to `target.url`, for the model after `#` or the only one that it serves.

    Raises:
        TargetError: no address, no key where one is needed, or several models and none named.
        Unreachable, RequestRejected: nobody there, or the key is refused.
    """
    options = convert_options(target.options, Options, target.engine)
    url = address_of(target, "http://127.0.0.1:8080#model")
    key = key_of(url, options.key_env, "ANTHROPIC_API_KEY")
    headers = {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}
    connection = Connection(url, "anthropic", options.request_timeout_s, headers=headers, key=key)
    try:
        model = text_of(model_entry(connection, target.model, "anthropic").get("id"))
        return Anthropic(connection, Facts("anthropic", model=model), find_renderer(connection, model))
    except EngineError:
        connection.close()
        raise


class Anthropic:
    """A server that speaks Anthropic's messages. One request at a time."""

    def __init__(self, connection: Connection, facts: Facts, renderer: Renderer) -> None:
        self._connection = connection
        self._facts = facts
        self._renderer = renderer

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one chat request; see `Engine.stream`."""
        body = _body(request, self._facts.model)
        usage: JsonObject = {}
        reason: str | None = None
        with self._connection.post(PATH, body) as response:
            yield Opened()
            for payload in payloads(response, streamed=request.stream):
                chunk = wire.decode_message(payload)
                if chunk.error is not None:
                    raise self._connection.failure(chunk.error)
                yield from chunk.deltas()
                usage |= chunk.usage or {}
                reason = chunk.finish_reason() or reason
        if reason is None:
            raise self._connection.broken_off()
        yield Stop(reason)
        yield wire.message_evidence(usage)

    def render(self, request: Request) -> Prompt | None:
        """The prompt by the server's own template and tokenizer, of the messages as the server reads them."""
        messages = tuple(from_blocks(*to_blocks(request.messages)))
        return self._renderer(msgspec.structs.replace(request, messages=messages))

    def facts(self) -> Facts:
        """What the server says of itself, which is its model's name."""
        return self._facts

    def pids(self) -> tuple[int, ...]:
        """The server's processes on this machine."""
        return self._connection.pids()

    def url(self) -> str:
        """The server's address, without `/v1`."""
        return self._connection.url

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _body(request: Request, model: str | None) -> JsonObject:
    system, messages = to_blocks(request.messages)
    body: JsonObject = {
        "model": model,
        "messages": messages,
        "max_tokens": request.max_tokens,
        "temperature": 0,
        **request.parameters,
        "stream": request.stream,
    }
    if system is not None:
        body["system"] = system
    if request.tools:
        body["tools"] = to_tools(request.tools)
    return body
