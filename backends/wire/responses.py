"""Replies of `/v1/responses`: the events of a stream, or the whole object. Pure.

Fields are those of OpenAI's documentation and of llama-server, which sends a part of them. A reply that was answered in
the background (`queued`, `in_progress`) has no end here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from backends.base import CallPart, Delta, DeltaKind
from backends.wire.chunk import decoded

_TEXT: dict[str, DeltaKind] = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "content",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "tool_call",
    "response.custom_tool_call_input.delta": "tool_call",
}
"""Events whose `delta` is text of the reply. Others with a `delta` (audio, logs of hosted tools) are not."""

_CALLS = ("function_call", "custom_tool_call")
_CUT_OFF = {"max_output_tokens": "length"}
"""Reasons for an incomplete reply by their names in chat completions, where there is one."""


class _Part(msgspec.Struct):
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    """A message, a reasoning or a call; `type` says which of the fields it has."""

    type: str = ""
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    name: str | None = None
    arguments: str | None = None
    input: Any = None
    call_id: str | None = None

    def delta(self, index: int) -> Delta | None:
        """The text of a whole item, the `index`th of a reply; of a reasoning the summary only where the text itself is
        not shown.
        """
        if self.type in _CALLS:
            given = self.input if self.type == "custom_tool_call" and isinstance(self.input, str) else self.arguments
            name, arguments = self.name or "", given or ""
            return Delta("tool_call", name + arguments, call=CallPart(index, self.call_id or "", name, arguments))
        parts = self.content or self.summary or []
        text = "".join(part.text or part.refusal or "" for part in parts)
        if not text or self.type not in ("message", "reasoning"):
            return None
        return Delta("reasoning" if self.type == "reasoning" else "content", text)


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    output: list[_Item] | None = None
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    error: Any = None

    def finish_reason(self) -> str | None:
        if self.status == "completed":
            return "tool_calls" if any(item.type in _CALLS for item in self.output or ()) else "stop"
        if self.status == "incomplete":
            reason = self.incomplete_details and self.incomplete_details.reason
            return _CUT_OFF.get(reason, reason) if reason else "incomplete"
        return None

    def failure(self) -> Any:
        """Why there is no reply; some servers give no reason."""
        if self.status in ("failed", "cancelled"):
            return self.error or {"message": f"the response was {self.status}"}
        return self.error


class ResponseChunk(_Response):
    """One event of a streamed response, which may hold the `response` itself, or a whole one.

    `finish_reason` is in the words of chat completions (`stop`, `tool_calls`, `length`); any other reason is as it was
    sent. llama-server calls a reply complete also where `max_output_tokens` cut it off.
    """

    type: str = ""
    delta: Any = None
    item: _Item | None = None
    response: _Response | None = None
    output_index: int = 0
    code: str | int | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        said = self.response or self
        self.usage = said.usage
        self.timings = self.timings or said.timings
        self.error = said.failure() or self.error
        if self.type == "error" and self.error is None:
            self.error = {"code": self.code, "message": self.message}

    def deltas(self) -> list[Delta]:
        """The text in it. A call begins with its name, as in a chat completion."""
        if not self.type:
            whole = [item.delta(index) for index, item in enumerate(self.output or ())]
            return [delta for delta in whole if delta is not None]
        kind = _TEXT.get(self.type)
        if kind is not None and isinstance(self.delta, str) and self.delta:
            call = CallPart(self.output_index, arguments=self.delta) if kind == "tool_call" else None
            return [Delta(kind, self.delta, call=call)]
        item = self.item
        if self.type == "response.output_item.added" and item and item.type in _CALLS and item.name:
            return [Delta("tool_call", item.name, call=CallPart(self.output_index, item.call_id or "", item.name))]
        return []

    def finish_reason(self) -> str | None:
        """The stop reason, if the response has ended."""
        return self.response.finish_reason() if self.response else super().finish_reason()


_response = msgspec.json.Decoder(ResponseChunk)


def decode_response(payload: bytes) -> ResponseChunk:
    """Decode one payload.

    Raises:
        EngineFault: the payload is not a JSON object of that form; shows its beginning.
    """
    return decoded(_response, payload)
