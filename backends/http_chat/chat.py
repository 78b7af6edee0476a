"""A chat over `/v1/chat/completions`, as an engine: what to send, what comes back, who bears witness to the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast, runtime_checkable

import msgspec

from backends import wire
from backends.base import (
    EngineError,
    Event,
    Evidence,
    Facts,
    JsonObject,
    Opened,
    Prompt,
    Request,
    Stop,
)
from backends.http_chat.connection import Connection, payloads

PATH = "/v1/chat/completions"


class Said(msgspec.Struct, frozen=True):
    """What a reply said beside its text; `further` holds the other top-level keys that the adapter asked to keep."""

    usage: JsonObject | None = None
    timings: JsonObject | None = None
    further: JsonObject = {}


Witness = Callable[[Said], Evidence]
"""Reads the evidence for a reply once it is complete; it may ask the server more, since the clock has stopped."""

Renderer = Callable[[Request], Prompt | None]


@runtime_checkable
class Explainer(Protocol):
    """A witness that can also say why a stream broke off."""

    def broken_off(self) -> EngineError | None:
        """The error that the server kept to itself; `None` where it left no sign."""
        ...


def by_reply(said: Said) -> Evidence:
    """The evidence of the reply alone."""
    return wire.evidence_of(said.usage, said.timings)


def no_prompt(request: Request) -> None:
    """The renderer for a server that cannot tell its prompts."""


class ChatServer:
    """A server that speaks OpenAI's chat completions. One request at a time."""

    def __init__(
        self,
        connection: Connection,
        facts: Facts,
        *,
        renderer: Renderer = no_prompt,
        witness: Witness = by_reply,
        path: str = PATH,
        keep: tuple[str, ...] = (),
    ) -> None:
        self._connection = connection
        self._facts = facts
        self._renderer = renderer
        self._witness = witness
        self._path = path
        self._keep = keep
        self._marks = tuple(f'"{key}"'.encode() for key in keep)

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one chat request; see `Engine.stream`."""
        body = chat_body(request, self._facts.model)
        said = Said()
        reason: str | None = None
        with self._connection.post(self._path, body) as response:
            yield Opened()
            for payload in payloads(response, streamed=request.stream):
                chunk = wire.decode_chunk(payload)
                if chunk.error is not None:
                    raise wire.stream_error(chunk.error)
                yield from chunk.deltas()
                reason = chunk.finish_reason() or reason
                said = Said(chunk.usage or said.usage, chunk.timings or said.timings, self._kept(payload, said))
        if reason is None:
            raise self._broken_off()
        yield Stop(reason)
        yield self._witness(said)

    def render(self, request: Request) -> Prompt | None:
        """The prompt by the server's own template and tokenizer, where it shows them."""
        return self._renderer(request)

    def facts(self) -> Facts:
        """What the server says of itself."""
        return self._facts

    def pids(self) -> tuple[int, ...]:
        """The server's processes on this machine."""
        return self._connection.pids()

    def load_log(self) -> str:
        """What a server launched here logged until it was ready."""
        return self._connection.process.load_log() if self._connection.process else ""

    def close(self) -> None:
        """Close the connection and end a server that was launched here."""
        self._connection.close()

    def _broken_off(self) -> EngineError:
        known = self._witness.broken_off() if isinstance(self._witness, Explainer) else None
        return known or self._connection.broken_off()

    def _kept(self, payload: bytes, said: Said) -> JsonObject:
        if not any(mark in payload for mark in self._marks):
            return said.further
        whole = cast("JsonObject", msgspec.json.decode(payload))
        return said.further | {key: whole[key] for key in self._keep if whole.get(key) is not None}


def chat_body(request: Request, model: str | None) -> JsonObject:
    """The body of a chat completion. `parameters` of the request win over everything but `stream`."""
    body: JsonObject = {
        "model": model,
        "messages": list(request.messages),
        "max_tokens": request.max_tokens,
        "temperature": 0,
        **request.parameters,
        "stream": request.stream,
    }
    if request.tools:
        body["tools"] = list(request.tools)
    if request.stream:
        body["stream_options"] = {"include_usage": True}
    return body


def text_of(value: Any) -> str | None:
    """A text that a server says of itself; `None` for anything else."""
    return value if isinstance(value, str) and value else None


def count_of(value: Any) -> int | None:
    """A positive count that a server says of itself; `None` for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
