"""The head of a Markdown file: `key: value` lines between two lines of `---`. Splits it from the text.

Of YAML only what heads of skills and personas hold: plain or quoted texts, and lists in brackets. Lines of another
form are left out, so that a skill file made for another program can be used as it is.
"""

from __future__ import annotations

import re

__all__ = ["split_front_matter", "words_of"]

_HEAD = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"([A-Za-z][\w-]*):[ \t]+(\S.*)")


def split_front_matter(text: str) -> tuple[dict[str, str], str]:
    """The head's values by their keys, as they are written, and the text behind it; an empty head if there is none."""
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    head = _HEAD.match(text)
    if head is None:
        return {}, text
    lines = (_LINE.fullmatch(line.rstrip()) for line in head[1].splitlines())
    return {line[1]: line[2].strip("'\"") for line in lines if line}, text[head.end() :].lstrip("\n")


def words_of(value: str) -> tuple[str, ...]:
    """The items of a list as a head holds it: `[edit, run]`, `["edit", "run"]` or `edit, run`."""
    items = (item.strip().strip("'\"") for item in value.strip("[]").split(","))
    return tuple(item for item in items if item)
