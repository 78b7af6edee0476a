"""Whether two texts are the same but for a value that changes by itself: a time, a number, an id, a path. Pure.

Each kind of value is masked by one mark; lines that are equal under a mask differ in such values alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["changed_lines", "same_but_for"]

MAX_LINES: Final = 64
MAX_CHARS: Final = 20_000

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\b"
)
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*day|(?:mon|tue|wed|thu|fri|sat|sun)\b"
_ZONE = r"(?:\s?(?:Z|UTC|GMT|[CE]E?S?T|[PM][SD]T)(?:[+-]\d{1,2})?|\s?[+-]\d\d:?\d\d)?\b"
_TIME = re.compile(
    rf"\d{{4}}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?{_ZONE})?|"
    rf"\d{{1,4}}[/.]\d{{1,2}}[/.]\d{{2,4}}|\b\d{{1,2}}:\d\d(?::\d\d)?(?:\s?[ap]\.?m\b\.?)?{_ZONE}|"
    rf"\b{_MONTH}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?\b(?:,?\s+\d{{4}}\b)?|"
    rf"\b\d{{1,2}}\.?[\s-]{_MONTH}\.?(?:[\s-]\d{{4}})?\b|\b(?:{_DAY})",
    re.IGNORECASE,
)
_ID = re.compile(
    r"\b(?=[0-9a-zA-Z_-]*\d)(?=[0-9a-zA-Z_-]*[a-zA-Z])[0-9a-zA-Z_-]{5,}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-\w+"
)
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:~|\.{1,2})?[\\/][\w.@+~-]+(?:[\\/][\w.@+~-]*)*")
_SHARE = re.compile(r"\d+(?:[.,]\d+)?\s?(?:%|[kKMGT]i?B\b)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

_MASKS: Final = (
    ("a date or time", _TIME),
    ("a share or size", _SHARE),
    ("a path", _PATH),
    ("an id", _ID),
    ("a counter", _NUMBER),
)


def same_but_for(old: str, new: str) -> str | None:
    """What the two texts differ in («a date or time», …), or `None` where they differ in more than such a value."""
    ours, theirs = _only(old, new)
    if not ours or len(theirs) != len(ours) or len(ours) > MAX_LINES:
        return None
    pairs = list(zip(ours, theirs, strict=True))
    for what, mask in _MASKS:
        if all(mask.sub("\0", a) == mask.sub("\0", b) for a, b in pairs):
            return what
    if all(_all_masked(a) == _all_masked(b) for a, b in pairs):
        return "values"
    return None


def changed_lines(old: str, new: str) -> tuple[str, ...]:
    """The lines that stand on one side alone, the old side's first, no empty ones; at most `MAX_LINES` of each."""
    ours, theirs = _only(old, new)
    return tuple(line for line in (*ours[:MAX_LINES], *theirs[:MAX_LINES]) if line.strip())


def _only(old: str, new: str) -> tuple[Sequence[str], Sequence[str]]:
    ours, theirs = old[:MAX_CHARS].split("\n"), new[:MAX_CHARS].split("\n")
    in_ours, in_theirs = set(ours), set(theirs)
    return [line for line in ours if line not in in_theirs], [line for line in theirs if line not in in_ours]


def _all_masked(line: str) -> str:
    for _, mask in _MASKS:
        line = mask.sub("\0", line)
    return line
