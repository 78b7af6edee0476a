"""Replies in the form of OpenAI's `choices`: chat completions, and completions, whose text has no kinds. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from backends.base import CallPart, Delta
from backends.wire.chunk import decoded


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None
    index: int | None = None
    id: str | None = None

    def delta(self, position: int) -> Delta | None:
        """What this piece adds to a call; the index is its `position` where none is sent, as in a whole reply."""
        if self.function is None:
            return None
        name, arguments = self.function.name or "", self.function.arguments or ""
        index = position if self.index is None else self.index
        return Delta("tool_call", name + arguments, call=CallPart(index, self.id or "", name, arguments))


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Message | None = None
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class ChatChunk(msgspec.Struct):
    """One chunk of a streamed reply, or a whole reply, of `/v1/chat/completions` or of `/v1/completions`."""

    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    error: Any = None

    def deltas(self) -> list[Delta]:
        """The text in this chunk: reasoning first, as engines send it."""
        found: list[Delta] = []
        for choice in self.choices:
            if choice.text:
                found.append(Delta("content", choice.text))
            part = choice.delta or choice.message
            if part is None:
                continue
            reasoning = part.reasoning_content or part.reasoning
            if reasoning:
                found.append(Delta("reasoning", reasoning))
            if part.content:
                found.append(Delta("content", part.content))
            calls = [call.delta(position) for position, call in enumerate(part.tool_calls or ())]
            found.extend(delta for delta in calls if delta is not None)
        return found

    def finish_reason(self) -> str | None:
        """The stop reason, if this chunk has one."""
        return next((c.finish_reason for c in self.choices if c.finish_reason), None)


_chunk = msgspec.json.Decoder(ChatChunk)


def decode_chunk(payload: bytes) -> ChatChunk:
    """Decode one payload.

    Raises:
        EngineFault: the payload is not a JSON object of that form; shows its beginning.
    """
    return decoded(_chunk, payload)
