"""Where the messages of a request lie in its rendered prompt. Pure; it knows no template.

Templates write what a message says as it is, between words of their own. So each piece (a text, a reasoning, the name
and the arguments of a tool call) is searched for behind the one before it, no further than what was not found could
reach: one pass for every template that keeps the order of messages. A piece that a template rewrote is not found; its
message then has no place of its own, and its text counts with the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from backends.base import JsonObject
from profiler.causes.base import Part
from profiler.causes.json_text import list_of, object_of, raw

__all__ = ["Piece", "Span", "head_roles", "pieces", "spans"]

HEAD_ROLES: Final = ("system", "developer")
WINDOW_CHARS: Final = 4000
"""How far behind the last piece the next one is searched for: a template's own words are shorter."""
SHORT_CHARS: Final = 8
SHORT_WINDOW_CHARS: Final = 400
"""A short piece («ok») stands in many places; it is believed only near by."""
THOUGHT_END: Final = "</think>"


class Piece(msgspec.Struct, frozen=True):
    """A piece of a message that a template writes as it is; `path` leads to it within the message.

    `shown` is False for what becomes no text (an image).
    """

    part: Part
    path: str
    text: str
    shown: bool = True


class Span(msgspec.Struct, frozen=True):
    """The characters of a rendered prompt that belong to a message, with the template's words before it.

    `found` holds (start, end, piece) of each piece that was found, in order.
    """

    start: int
    end: int
    found: tuple[tuple[int, int, Piece], ...] = ()

    def piece_at(self, char: int) -> Piece | None:
        """The piece that holds a character; `None` for the template's own words."""
        return next((piece for start, end, piece in self.found if start <= char < end), None)

    def place_of(self, path: str) -> tuple[int, int] | None:
        """From where to where a piece stands; `None` if it was not found."""
        return next(((start, end) for start, end, piece in self.found if piece.path == path), None)


def pieces(message: JsonObject) -> Iterator[Piece]:
    """The pieces of a message in the order in which templates write them; empty ones are left out."""
    role = message.get("role")
    for key in ("reasoning_content", "reasoning", "thinking"):
        thought = message.get(key)
        if isinstance(thought, str) and thought.strip():
            yield Piece("assistant_reasoning", key, thought.strip())
            break
    yield from _content_pieces(message.get("content"), _part(role))
    for number, call in enumerate(list_of(message.get("tool_calls"))):
        yield from _call_pieces(number, call)


def _content_pieces(content: Any, part: Part) -> Iterator[Piece]:
    if isinstance(content, str):
        if content.strip():
            yield Piece(part, "content", content.strip())
        return
    for number, item in enumerate(list_of(content)):
        given = object_of(item)
        text: Any = given.get("text") if given else item
        thought = given.get("thinking")
        if isinstance(thought, str):
            if thought.strip():
                yield Piece("assistant_reasoning", f"content[{number}].thinking", thought.strip())
        elif isinstance(text, str):
            if text.strip():
                yield Piece(part, f"content[{number}]" + (".text" if given else ""), text.strip())
        elif given:
            yield Piece(part, f"content[{number}]", raw(given), shown=False)


def _call_pieces(number: int, call: Any) -> Iterator[Piece]:
    function = object_of(object_of(call).get("function"))
    for key in ("name", "arguments"):
        given = function.get(key)
        text = given if isinstance(given, str) else raw(given) if isinstance(given, dict) else ""
        if text.strip():
            yield Piece("assistant_tool_call", f"tool_calls[{number}].function.{key}", text.strip())


def _part(role: object) -> Part:
    if role in HEAD_ROLES:
        return "system"
    if role in ("tool", "function"):
        return "tool"
    return "assistant_content" if role == "assistant" else "user"


def head_roles(messages: list[JsonObject]) -> int:
    """How many messages open the prompt as its system text."""
    return next((i for i, m in enumerate(messages) if m.get("role") not in HEAD_ROLES), len(messages))


def spans(text: str, messages: list[JsonObject]) -> list[Span]:
    """The span of each message in `text`, in order; they cover it from 0 without gaps, the rest belongs to nobody.

    System messages and tools are written in an order that templates choose, so the system messages at the start share
    what comes before the first other message that is found.
    """
    head = head_roles(messages)
    # Templates that put tools or rules of their own first do so at any length.
    search = _Search(text, reach=len(text))
    located = [search.locate(message) for message in messages[:head]]
    behind_head = search.cursor
    if head:
        search.found_nothing_yet()
    located += [search.locate(message) for message in messages[head:]]
    first = next((found[0][0] for found in located[head:] if found), None)
    head_end = 0 if not head else behind_head if first is None else first
    result = [Span(0, head_end, found) for found in located[:head]]
    at = head_end
    for found in located[head:]:
        end = max(at, found[-1][1]) if found else at
        result.append(Span(at, end, found))
        at = end
    return result


class _Search:
    """The search for pieces, each behind the one before it. `reach` is how far the first one may lie."""

    def __init__(self, text: str, reach: int) -> None:
        self._text = text
        self._missed = reach
        # Searches that find nothing are what could take long.
        self._budget = 2 * len(text) + 1_000_000
        self.cursor = 0

    def found_nothing_yet(self) -> None:
        """The next piece may lie anywhere again: tools of any length stand between."""
        self._missed = len(self._text)

    def locate(self, message: JsonObject) -> tuple[tuple[int, int, Piece], ...]:
        found: list[tuple[int, int, Piece]] = []
        for piece in pieces(message):
            needle = next((n for n in _needles(piece) if self._find(n) >= 0), None) if piece.shown else None
            if needle is None:
                self._missed += len(piece.text)
                continue
            at = self._find(needle)
            found.append((at, at + len(needle), piece))
            self.cursor, self._missed = at + len(needle), 0
        return tuple(found)

    def _find(self, needle: str) -> int:
        short = len(needle) < SHORT_CHARS
        window = SHORT_WINDOW_CHARS if short else WINDOW_CHARS + 2 * self._missed
        if self._budget <= 0:
            window = min(window, WINDOW_CHARS)
        at = self._text.find(needle, self.cursor, self.cursor + window + len(needle))
        self._budget -= (at - self.cursor) if at >= 0 else min(window, len(self._text) - self.cursor)
        return at


def _needles(piece: Piece) -> Iterator[str]:
    yield piece.text
    if piece.part == "assistant_content" and THOUGHT_END in piece.text:
        # What templates keep of an earlier reply that holds its reasoning.
        answer = piece.text.rpartition(THOUGHT_END)[2].strip()
        if answer:
            yield answer
