"""Texts cut to a length that a reader, or a rule, can use. Pure."""

from __future__ import annotations

from typing import Final

from profiler.causes.text_difference import common_prefix

__all__ = ["SHOWN_CHARS", "excerpt", "lead", "window"]

SHOWN_CHARS: Final = 80
"""Characters shown on each side of a difference."""
WORD_CHARS: Final = 16
"""A cut is moved by up to so many characters, so that it falls between words."""
WHOLE_CHARS: Final = 20_000
"""Characters of a piece that rules compare; of longer ones, those around the first difference."""


def excerpt(text: str) -> str:
    """The beginning of a text, cut between words."""
    if len(text) <= SHOWN_CHARS:
        return text
    cut = max(
        text.rfind(" ", SHOWN_CHARS - WORD_CHARS, SHOWN_CHARS), text.rfind("\n", SHOWN_CHARS - WORD_CHARS, SHOWN_CHARS)
    )
    return text[: cut if cut > 0 else SHOWN_CHARS]


def lead(text: str, char: int) -> str:
    """What leads up to a character, from between two words on."""
    start = max(0, char - SHOWN_CHARS)
    if start and char > start:
        cuts = [
            at
            for at in (text.find(" ", start, start + WORD_CHARS), text.find("\n", start, start + WORD_CHARS))
            if at >= 0
        ]
        return text[min(cuts) + 1 if cuts else start : char].lstrip()
    return text[start:char]


def window(old: str, new: str) -> tuple[str, str]:
    """Both sides, cut alike to what rules compare: from before the first difference on."""
    if len(old) <= WHOLE_CHARS and len(new) <= WHOLE_CHARS:
        return old, new
    start = max(0, common_prefix(old, new) - WHOLE_CHARS // 2)
    return old[start : start + WHOLE_CHARS], new[start : start + WHOLE_CHARS]
