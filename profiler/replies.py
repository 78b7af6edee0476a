"""What a request brought back, as a record. `profiler.records` has the request itself, and gives these on."""

from __future__ import annotations

import msgspec

from backends.base import DeltaKind

__all__ = ["Reply", "ToolCall"]


class ToolCall(msgspec.Struct, frozen=True):
    """A tool call as the engine took it out of a reply; `arguments` is text, JSON if the model wrote such."""

    id: str
    name: str
    arguments: str


class Reply(msgspec.Struct, frozen=True):
    """What came back: the text by kind, the token ids where the engine said them, and the stop reason.

    `calls` are the tool calls of an engine that takes them apart. Others leave the text of all calls, without their
    tags, in `text["tool_call"]`.
    """

    text: dict[DeltaKind, str] = {}
    token_ids: tuple[int, ...] | None = None
    stop_reason: str | None = None
    calls: tuple[ToolCall, ...] = ()
