"""The templates of the pack: words in the place of `@@name@@`, and parts that only some variants have.

    #[grace             from here on for variants with the rule `grace`
    #[!codes            from here on for those without `codes`
    #]                  … to here; parts may lie inside each other
    #{replay}           the place of a gap: its tests, or the comment that asks for them

A mark stands alone in its line. Nothing is known here of what the texts mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

__all__ = ["GAP_PLACE", "fill", "holds", "select"]

GAP_PLACE = re.compile(r"^#\{(\w+)\}\n", re.MULTILINE)


def holds(condition: str, rules: Set[str]) -> bool:
    """Whether a rule is there, or with `!` is not."""
    return condition[1:] not in rules if condition.startswith("!") else condition in rules


def select(text: str, rules: Set[str]) -> str:
    """The lines of a template that a variant has.

    Raises:
        ValueError: a part is not closed, or closed without being open.
    """
    lines: list[str] = []
    open_parts: list[bool] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("#["):
            open_parts.append(holds(line[2:].strip(), rules))
        elif line.rstrip() == "#]":
            if not open_parts:
                raise ValueError("a part is closed that was not opened")
            open_parts.pop()
        elif all(open_parts):
            lines.append(line)
    if open_parts:
        raise ValueError("a part is not closed")
    return "".join(lines)


def fill(text: str, words: Mapping[str, str]) -> str:
    """The text with its words; `a` or `an` before one becomes what the word needs.

    Raises:
        KeyError: a word is not known.
    """

    def filled(found: re.Match[str]) -> str:
        article, word = found.group(1), words[found.group(2)]
        if article is None:
            return word
        # Of the words in use, those that begin with a u are spoken with a consonant: `user`.
        return f"{article}{'n' if word.lower().startswith(tuple('aeio')) else ''} {word}"

    return re.sub(r"(?:\b([Aa])n? )?@@([A-Za-z_]+?)@@", filled, text)
