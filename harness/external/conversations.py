"""Which conversation a recorded request belongs to, when nobody says so: found by what it holds. Pure.

An agent sends requests of several conversations to one address: its own, its sub-agents', one for a title. A request
belongs to the conversation that began with the same system text and the same first user message; one that holds a
reply which was given in a conversation continues that one, so that an agent that rewrites its system text in every
request is seen to change its prompt, not to begin anew. Anything else is a conversation of its own: the first is
`main`, the others are counted. Two sub-agents that begin with the same words, side by side, are taken for one.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from backends.base import JsonObject, Request
from profiler.records import Reply

__all__ = ["MAIN", "Conversations"]

MAIN = "main"


class Conversations:
    """The conversations of one dispatch, in the order of its requests."""

    def __init__(self) -> None:
        self._by_beginning: dict[bytes, str] = {}
        self._by_reply: dict[str, str] = {}
        self._turns: dict[str, int] = {}

    def place(self, request: Request | None) -> tuple[str, int]:
        """The conversation and the turn in it, from 0. What shows no messages is a conversation of its own kind."""
        beginning = _beginning(request)
        name = self._by_beginning.get(beginning) or self._continued(request)
        if name is None:
            name = MAIN if not self._turns else f"side-{len(self._turns)}"
        self._by_beginning[beginning] = name
        turn = self._turns.get(name, 0)
        self._turns[name] = turn + 1
        return name, turn

    def note(self, name: str, reply: Reply) -> None:
        """Note what was said in a conversation."""
        for mark in (*(call.id for call in reply.calls), reply.text.get("content", "").strip()):
            if mark:
                self._by_reply[mark] = name

    def _continued(self, request: Request | None) -> str | None:
        for message in reversed(request.messages if request is not None else ()):
            if message.get("role") != "assistant":
                continue
            for mark in (*_call_ids(message), text_of(message.get("content")).strip()):
                if mark in self._by_reply:
                    return self._by_reply[mark]
        return None


def text_of(content: Any) -> str:
    """The text of a message's content, of its parts too; other parts than text are left out."""
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in _objects(content))
    return "".join(text for text in texts if isinstance(text, str))


def _beginning(request: Request | None) -> bytes:
    """Everything up to the first user message."""
    messages = request.messages if request is not None else ()
    first = next((at for at, message in enumerate(messages) if message.get("role") == "user"), len(messages) - 1)
    return msgspec.json.encode([(m.get("role"), text_of(m.get("content"))) for m in messages[: first + 1]])


def _call_ids(message: JsonObject) -> list[str]:
    ids = (call.get("id") for call in _objects(message.get("tool_calls")))
    return [found for found in ids if isinstance(found, str)]


def _objects(value: Any) -> list[JsonObject]:
    """The objects of a list; none of anything else."""
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("JsonObject", item) for item in listed if isinstance(item, dict)]
