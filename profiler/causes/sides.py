"""The two sides of a comparison, a request each: messages, tools, rendered text; and a difference of requests. Pure."""

from __future__ import annotations

from typing import Literal, cast

import msgspec

from backends.base import JsonObject
from profiler.causes.base import Part, Place, Step
from profiler.causes.json_text import objects_of
from profiler.causes.segments import Span, pieces, spans

__all__ = ["Found", "Kind", "Side", "generated_text", "part_of"]

Kind = Literal["changed", "inserted", "removed", "reordered", "retokenised"]


class Found(msgspec.Struct, frozen=True):
    """A difference between two requests, and the characters of the old rendered text within which it must show.

    `start` is `None` where there is no text, or none for it. `whole`: what differs is to be looked at as one thing
    (a tool list, a block of messages, arguments), else each changed line by itself. `shown` is False for what becomes
    no text (an image).
    """

    kind: Kind
    place: Place
    start: int | None
    end: int | None
    old: str
    new: str
    in_request: bool = True
    whole: bool = False
    shown: bool = True
    names: tuple[str, ...] = ()
    """Of tools, which templates write wherever they like: what a change of the text must name to be theirs."""


class Side(msgspec.Struct, frozen=True):
    """One of the two requests: its messages and tools, its rendered text, and the span of each message in that."""

    messages: list[JsonObject]
    tools: list[JsonObject]
    text: str
    spans: list[Span]

    @classmethod
    def of(cls, step: Step, reply: str = "") -> Side:
        """The side of a request; `reply` is the text that was generated after its prompt."""
        messages = objects_of(step.request.get("messages"))
        prompt = step.rendered.text if step.rendered is not None else ""
        located = spans(prompt, messages) if prompt else []
        return cls(messages, objects_of(step.request.get("tools")), prompt + reply, located)

    def span(self, index: int) -> Span | None:
        """The span of a message; `None` where the text is not shown, or for a message behind it."""
        return self.spans[index] if index < len(self.spans) else None

    def begin(self, index: int) -> int | None:
        """Where the first piece at or behind message `index` begins; `None` if there is none."""
        return next((span.found[0][0] for span in self.spans[index:] if span.found), None)


def generated_text(step: Step) -> str | None:
    """The text that was generated for a request, with the template's marks where it was forced.

    `None` where only its parsed parts are known.
    """
    forced = step.request.get("forced")
    if isinstance(forced, dict):
        text = cast("JsonObject", forced).get("text")
        return text if isinstance(text, str) else None
    said = step.record.reply.text
    return said.get("content", "") if set(said) <= {"content"} else None


def part_of(message: JsonObject) -> Part:
    """What a message is: the part of its first piece."""
    first = next(pieces(message), None)
    if first is not None:
        return first.part
    return "user" if message.get("role") == "user" else "glue"
