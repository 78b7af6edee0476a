"""One request of another program as it was recorded: its bytes and its reply's, stamped, and what they say. Pure.

A reply is read by the same decoders as an adapter's, so that its record is of the same form. The request is never
changed: what a server only says when it is asked for (`stream_options`) is unknown where the program did not ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from backends import wire
from backends.base import EngineFault, Event, JsonObject, Opened, Request, Stop
from profiler.measure import Measurement, taken
from profiler.records import Failure

__all__ = ["CLIENT_LEFT", "Exchange", "Piece", "is_inference", "measured", "request_of"]

CLIENT_LEFT = "ClientLeft"
"""The kind of failure of a request whose sender closed the connection before the reply was complete."""

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
_READERS: dict[str, Callable[[bytes], wire.Chunk]] = {
    CHAT: wire.decode_chunk,
    COMPLETIONS: wire.decode_chunk,
    RESPONSES: wire.decode_response,
    MESSAGES: wire.decode_message,
}


_CHATS: dict[str, Callable[[JsonObject], wire.Chat | None]] = {
    CHAT: lambda body: (body.get("messages") or [], body.get("tools") or []),
    RESPONSES: wire.chat_of_response,
    MESSAGES: wire.chat_of_message,
}
_NOT_PARAMETERS = {"messages", "tools", "stream", "stream_options", "model"}
DEFAULT_TOKENS = 128
"""Stands for a limit that a body does not name; it is no part of a prompt."""


class Piece(msgspec.Struct, frozen=True):
    """Bytes of a reply, and when they came (ns, monotonic)."""

    at_ns: int
    data: bytes


class Exchange(msgspec.Struct, frozen=True):
    """A request and its reply, as they passed through.

    `number` counts the requests of a proxy from 1 in the order in which they were passed on, `overlaps` names those
    that were answered side by side with it. `path` begins after the proxy's own prefix. `error` is what ended it before
    its reply was complete. `log_from` is the size of the engine's log when the request was passed on, `None` where
    there is none.
    """

    number: int
    session: str
    method: str
    path: str
    body: bytes
    sent_unix_ns: int
    sent_ns: int
    overlaps: tuple[int, ...] = ()
    status: int | None = None
    headers_ns: int | None = None
    pieces: tuple[Piece, ...] = ()
    ended_ns: int | None = None
    error: Failure | None = None
    log_from: int | None = None

    @property
    def reply(self) -> bytes:
        """The reply's body."""
        return b"".join(piece.data for piece in self.pieces)


def is_inference(exchange: Exchange) -> bool:
    """Whether a model was asked, in a form whose replies can be read here."""
    return exchange.method == "POST" and exchange.path in _READERS


def request_of(exchange: Exchange) -> Request | None:
    """The chat that was asked for, from which an engine can render its prompt.

    `None` for a completion, which has no messages, and for a body that cannot be read.
    """
    try:
        body = msgspec.json.decode(exchange.body, type=dict[str, Any])
        chat = _CHATS[exchange.path](body) if exchange.path in _CHATS else None
        if chat is None:
            return None
        messages, tools = msgspec.convert(chat, tuple[list[JsonObject], list[JsonObject]])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, TypeError):
        return None
    limits = (body.get(key) for key in ("max_tokens", "max_completion_tokens", "max_output_tokens"))
    return Request(
        messages=tuple(messages),
        tools=tuple(tools),
        max_tokens=next((n for n in limits if isinstance(n, int) and n > 0), DEFAULT_TOKENS),
        stream=bool(body.get("stream")),
        parameters={key: body[key] for key in body if _in_a_chat(key, exchange.path)},
    )


def _in_a_chat(key: str, path: str) -> bool:
    """Whether a key of the body is a parameter of the chat; those of other forms have other meanings."""
    return key not in _NOT_PARAMETERS if path == CHAT else key == "chat_template_kwargs"


def measured(exchange: Exchange, log: str = "") -> Measurement:
    """What the recorded bytes say. `log` is what the engine logged while it served this request, if that is known."""
    stamp = exchange.sent_ns
    found = taken(lambda: _events(exchange), lambda: stamp)
    # A client may close the connection after the last chunk: the reply is then complete.
    if exchange.error is not None and found.error is not None:
        found = msgspec.structs.replace(found, error=exchange.error)
    lines, slot = wire.cache_log(log)
    if not lines and slot is None:
        return found
    return msgspec.structs.replace(found, evidence=msgspec.structs.replace(found.evidence, log=lines, slot=slot))


def _events(exchange: Exchange) -> Iterator[Event]:
    """The events that an adapter would have given, with the stamps of the bytes that they came in."""
    if exchange.headers_ns is None:
        raise EngineFault("the server sent no reply")
    if exchange.status != 200:
        raise wire.http_error(exchange.status or 0, exchange.reply)
    yield Opened(exchange.headers_ns)
    usage: JsonObject = {}
    timings: JsonObject | None = None
    reason: str | None = None
    for at_ns, payload in _payloads(exchange):
        chunk = _READERS[exchange.path](payload)
        if chunk.error is not None:
            raise wire.stream_error(chunk.error)
        for delta in chunk.deltas():
            yield msgspec.structs.replace(delta, at_ns=at_ns)
        usage, timings = usage | (chunk.usage or {}), chunk.timings or timings
        reason = chunk.finish_reason() or reason
    if reason is None:
        raise EngineFault("the server ended the reply before it was complete")
    yield wire.message_evidence(usage) if exchange.path == MESSAGES else wire.evidence_of(usage, timings)
    yield Stop(reason, exchange.ended_ns)


def _payloads(exchange: Exchange) -> Iterator[tuple[int, bytes]]:
    """The JSON payloads of a reply with the stamp of their last byte: of each server-sent event, or the whole body."""
    if not _streamed(exchange):
        yield exchange.pieces[-1].at_ns if exchange.pieces else exchange.sent_ns, exchange.reply
        return
    decoder = wire.SseDecoder()
    at_ns = exchange.sent_ns
    for piece in exchange.pieces:
        at_ns = piece.at_ns
        yield from ((at_ns, payload) for payload in decoder.feed(piece.data) if payload != b"[DONE]")
    yield from ((at_ns, payload) for payload in decoder.end() if payload != b"[DONE]")


def _streamed(exchange: Exchange) -> bool:
    """By the reply itself: a whole one is a JSON object."""
    return not exchange.reply.lstrip().startswith(b"{")
