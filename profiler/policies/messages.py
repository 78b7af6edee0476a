"""Where the messages of a stored prompt start, found without a tokenizer.

Templates open every message with a marker that is one token of its own (`<|im_start|>`). The text says where the
markers stand and whose messages they open; the token that is in the ids exactly as often is the marker's, so the n-th
of one is the n-th of the other. Templates without such a marker give no messages. Pure; it knows no engine.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from profiler.policies.base import Message, Role

__all__ = ["Opening", "find_opening", "messages_of"]

_MARKERS: Final = tuple(
    re.compile(marker)
    for marker in (
        r"<\|im_start\|>(\w+)",
        r"<\|start_header_id\|>(\w+)",
        r"<start_of_turn>(\w+)",
        r"<\|turn>(\w+)",
        r"<\|start_of_role\|>(\w+)",
        r"<\|start\|>(\w+)",
    )
)
"""ChatML, Llama 3, Gemma, Gemma 4, Granite, gpt-oss: the marker, and behind it the role."""
_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "model": "assistant",
    "ipython": "tool",
    "function": "tool",
}
_LOOKED_AT: Final = 8
_BEFORE_FIRST_TOKENS: Final = 4
"""Tokens that may stand before the first marker, where nothing stands before it in the text (BOS)."""


class Opening(msgspec.Struct, frozen=True):
    """The marker that opens messages: which of the known ones (its pattern), and its token id."""

    pattern: str
    token: int


def find_opening(prompts: Iterable[tuple[str, array[int]]]) -> Opening | None:
    """The marker of the template that made these prompts (text and ids), `None` if it has none of the known ones."""
    candidates: dict[int, int] | None = None
    marker: re.Pattern[str] | None = None
    for _, (text, ids) in zip(range(_LOOKED_AT), prompts, strict=False):
        marker = marker or next((m for m in _MARKERS if m.search(text)), None)
        if marker is None:
            return None
        found = len(marker.findall(text))
        as_often = {token: ids.index(token) for token, count in Counter(ids).items() if count == found}
        candidates = {t: at for t, at in as_often.items() if candidates is None or t in candidates}
        first = marker.search(text)
        if first is not None:
            candidates = {t: at for t, at in candidates.items() if at <= first.start() + _BEFORE_FIRST_TOKENS}
    if not candidates or marker is None:
        return None
    return Opening(marker.pattern, min(candidates, key=lambda token: candidates[token]))


def messages_of(
    text: str, ids: array[int], opening: Opening | None, sent_as: Sequence[Role] = ()
) -> tuple[Message, ...]:
    """The messages of a prompt, in order; empty where the markers of text and ids cannot be matched.

    `sent_as` are the roles of the request. They are noted where they fit the rendered messages: one for one, or with
    answers of tools that follow each other in one block, or behind a system message that the template added. The
    opening of the reply to come is no message.
    """
    if opening is None:
        return ()
    roles: list[Role | None] = [_ROLES.get(found) for found in re.findall(opening.pattern, text)]
    starts = [at for at, token in enumerate(ids) if token == opening.token]
    if len(roles) != len(starts):
        return ()
    blocks = [Message(role, start) for role, start in zip(roles, starts, strict=True) if role is not None]
    if blocks and blocks[-1].role == "assistant" and (not sent_as or sent_as[-1] != "assistant"):
        blocks.pop()
    for added in (0, 1):
        for grouped in (_one_each(sent_as), _tools_together(sent_as)):
            if sent_as and len(blocks) - added == grouped[-1] + 1:
                own = blocks[added:]
                placed = zip(grouped, sent_as, strict=True)
                return tuple(Message(own[at].role, own[at].start, role) for at, role in placed)
    return tuple(blocks)


def _one_each(roles: Sequence[Role]) -> list[int]:
    return list(range(len(roles)))


def _tools_together(roles: Sequence[Role]) -> list[int]:
    """The block of each message where answers of tools that follow each other share one."""
    places: list[int] = []
    for at, role in enumerate(roles):
        shared = role == "tool" and at > 0 and roles[at - 1] == "tool"
        places.append(places[-1] if shared else (places[-1] + 1 if places else 0))
    return places
