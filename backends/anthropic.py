"""Any server with an Anthropic interface, attached by its address: `/v1/messages`, streamed or not.

`usage.input_tokens` leaves out what was read from the cache, so the prompt is known only where
`cache_read_input_tokens` is sent too; without it neither is. Messages and tools are brought to that form and the reply
back. Prompts are shown if the server offers llama-server's `/apply-template`. Output cannot be forced here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from backends import wire
from backends.base import (
    CallPart,
    Delta,
    EngineError,
    EngineFault,
    Event,
    Evidence,
    Facts,
    JsonObject,
    Opened,
    Prompt,
    Request,
    Stop,
    Target,
)
from backends.http_chat.access import address_of, key_of, model_entry
from backends.http_chat.anthropic_blocks import from_blocks, to_blocks, to_tools
from backends.http_chat.chat import Renderer, text_of
from backends.http_chat.connection import Connection, payloads
from backends.http_chat.rendering import find_renderer
from backends.options import convert_options

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


class _Block(msgspec.Struct):
    """A content block, or a piece of one; `type` says which of the fields it has."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    partial_json: str | None = None
    stop_reason: str | None = None

    def delta(self, index: int, *, whole: bool) -> Delta | None:
        """What it adds to the reply, of which it is the `index`th block. A tool's input comes with a whole block, or in
        pieces after its start.
        """
        if self.thinking:
            return Delta("reasoning", self.thinking)
        if self.text:
            return Delta("content", self.text)
        if self.type == "tool_use":
            name, arguments = self.name or "", msgspec.json.encode(self.input).decode() if whole else ""
            return Delta("tool_call", name + arguments, call=CallPart(index, self.id or "", name, arguments))
        if not self.partial_json:
            return None
        return Delta("tool_call", self.partial_json, call=CallPart(index, arguments=self.partial_json))


class _Message(msgspec.Struct):
    usage: JsonObject | None = None


class _Event(msgspec.Struct):
    """A stream's event, or the whole reply, which has the same names for its parts."""

    type: str = ""
    message: _Message | None = None
    content: list[_Block] = []
    content_block: _Block | None = None
    delta: _Block | None = None
    index: int = 0
    stop_reason: str | None = None
    usage: JsonObject | None = None
    error: Any = None

    def deltas(self) -> list[Delta]:
        found = [block.delta(index, whole=True) for index, block in enumerate(self.content)]
        pieces = (self.content_block, self.delta)
        found += [block.delta(self.index, whole=False) for block in pieces if block is not None]
        return [delta for delta in found if delta is not None]


_event = msgspec.json.Decoder(_Event)


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
                event = _decoded(payload)
                if event.error is not None:
                    raise self._connection.failure(event.error)
                yield from event.deltas()
                said = (event.message and event.message.usage) or event.usage or {}
                usage |= {key: value for key, value in said.items() if value is not None}
                reason = event.stop_reason or (event.delta and event.delta.stop_reason) or reason
        if reason is None:
            raise self._connection.broken_off()
        yield Stop(reason)
        yield evidence_of(usage)

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

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def evidence_of(usage: JsonObject) -> Evidence:
    """The evidence of a reply's `usage`; `input_tokens` alone does not say how long the prompt is."""
    known = usage if isinstance(usage.get("cache_read_input_tokens"), int) else {**usage, "input_tokens": None}
    return wire.evidence_of(known, None)


def _decoded(payload: bytes) -> _Event:
    try:
        return _event.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = payload[:80].decode("utf-8", "replace")
        raise EngineFault(f"the reply cannot be parsed ({error}): {shown!r}") from error


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
