"""A chat with an HTTP server, as an engine: how it is asked, how it is sent, who bears witness to the cache.

Unless an adapter says otherwise, that is `/v1/chat/completions`, sent on the adapter's own connection.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
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


class Form(msgspec.Struct, frozen=True):
    """A way to ask for a reply: where, with which body for a request and a model's name, and how to read a payload."""

    path: str
    body: Callable[[Request, str | None], JsonObject]
    read: Callable[[bytes], wire.Chunk]


class Said(msgspec.Struct, frozen=True):
    """What a reply said beside its text; `further` holds the other top-level keys that the adapter asked to keep."""

    usage: JsonObject | None = None
    timings: JsonObject | None = None
    further: JsonObject = {}


Witness = Callable[[Said], Evidence]
"""Reads the evidence for a reply once it is complete; it may ask the server more, since the clock has stopped."""

Renderer = Callable[[Request], Prompt | None]


Sender = Callable[[JsonObject], AbstractContextManager[Iterator[bytes]]]
"""Sends a body, returns when the server has begun to answer, and gives the payloads of the reply; raises our errors."""


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


def over(connection: Connection, path: str) -> Sender:
    """The sender by a connection."""

    @contextmanager
    def send(body: JsonObject) -> Generator[Iterator[bytes]]:
        with connection.post(path, body) as response:
            yield payloads(response, streamed=bool(body["stream"]))

    return send


class ChatServer:
    """A server that speaks one of OpenAI's forms. One request at a time.

    `path` stands for the form's own where it is given, `send` for the connection; `keep` names further keys of replies.
    """

    def __init__(
        self,
        connection: Connection,
        facts: Facts,
        *,
        renderer: Renderer = no_prompt,
        witness: Witness = by_reply,
        form: Form | None = None,
        path: str | None = None,
        send: Sender | None = None,
        keep: tuple[str, ...] = (),
    ) -> None:
        self._connection = connection
        self._facts = facts
        self._renderer = renderer
        self._witness = witness
        self._form = form or CHAT
        self._send = send or over(connection, path or self._form.path)
        self._keep = keep
        self._marks = tuple(f'"{key}"'.encode() for key in keep)

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one chat request; see `Engine.stream`."""
        body = self._form.body(request, self._facts.model)
        said = Said()
        reason: str | None = None
        with self._send(body) as reply:
            yield Opened()
            for payload in reply:
                chunk = self._form.read(payload)
                if chunk.error is not None:
                    raise self._connection.failure(chunk.error)
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

    def url(self) -> str:
        """The server's address, without `/v1`."""
        return self._connection.url

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


CHAT = Form(PATH, chat_body, wire.decode_chunk)


def text_of(value: Any) -> str | None:
    """A text that a server says of itself; `None` for anything else."""
    return value if isinstance(value, str) and value else None


def count_of(value: Any) -> int | None:
    """A positive count that a server says of itself; `None` for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
