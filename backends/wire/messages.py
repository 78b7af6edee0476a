"""Replies of Anthropic's `/v1/messages`: the events of a stream, or the whole object. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from backends.base import CallPart, Delta, Evidence, JsonObject
from backends.wire.chunk import decoded
from backends.wire.evidence import evidence_of


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
    type: str = ""
    message: _Message | None = None
    content: list[_Block] = []
    content_block: _Block | None = None
    delta: _Block | None = None
    index: int = 0
    stop_reason: str | None = None
    usage: JsonObject | None = None
    error: Any = None


class MessageChunk:
    """A stream's event, or the whole reply, which has the same names for its parts.

    A stream counts in two events: each says a part, and `usage` holds what is said in this one.
    """

    timings: dict[str, Any] | None = None

    def __init__(self, event: _Event) -> None:
        said = (event.message and event.message.usage) or event.usage or {}
        self.usage: dict[str, Any] | None = {key: value for key, value in said.items() if value is not None} or None
        self.error: Any = event.error
        self._event = event

    def deltas(self) -> list[Delta]:
        """The text in it. A call begins with its name, as in a chat completion."""
        event = self._event
        found = [block.delta(index, whole=True) for index, block in enumerate(event.content)]
        pieces = (event.content_block, event.delta)
        found += [block.delta(event.index, whole=False) for block in pieces if block is not None]
        return [delta for delta in found if delta is not None]

    def finish_reason(self) -> str | None:
        """The stop reason, if the reply has ended."""
        return self._event.stop_reason or (self._event.delta.stop_reason if self._event.delta else None)


_event = msgspec.json.Decoder(_Event)


def decode_message(payload: bytes) -> MessageChunk:
    """Decode one payload.

    Raises:
        EngineFault: the payload is not a JSON object of that form; shows its beginning.
    """
    return MessageChunk(decoded(_event, payload))


def message_evidence(usage: JsonObject) -> Evidence:
    """The evidence of a reply's `usage`; `input_tokens` alone does not say how long the prompt is."""
    known = usage if isinstance(usage.get("cache_read_input_tokens"), int) else {**usage, "input_tokens": None}
    return evidence_of(known, None)
