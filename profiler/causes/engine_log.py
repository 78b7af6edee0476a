"""What a llama-server's log lines of one request say about where it was put, and what else was there. Pure.

Lines as `backends.wire.cache_log` keeps them, read in llama.cpp's `server-context.cpp` and `server-task.cpp`, and seen
on real servers. A server at its default verbosity writes few of them: then less is known, and nothing is made up.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from profiler.causes.base import Step

__all__ = ["Choice", "Stored", "choice", "cleared_slots", "saved_lengths"]

_LYING: Final = re.compile(r"id\s+(\d+)\s*\|.*checking sim = \S+ \((\d+)/\d+\)")
_STORED: Final = re.compile(r"prompt with length\s+(\d+), lcp =\s+(\d+), (f_keep = .*)")
_RESTORED: Final = re.compile(r"found better prompt with (f_keep = .*)")
_SAVED: Final = re.compile(r"saving prompt with length (\d+)")
_CLEARED: Final = re.compile(r"id\s+(\d+)\s*\|.*clearing prompt with (\d+) tokens")
How = Literal["similar", "oldest", "pinned"]
_HOW: Final[tuple[tuple[str, How], ...]] = (
    ("selected slot by LCP", "similar"),
    ("selected slot by LRU", "oldest"),
    ("selected slot by id", "pinned"),
)


class Stored(msgspec.Struct, frozen=True):
    """A prompt in the server's store: its length, how much of it the request shares, and the log line."""

    length_tokens: int
    shared_tokens: int
    line: str


class Choice(msgspec.Struct, frozen=True):
    """How the server chose a slot for a request.

    `lying` maps each slot that held something to (shared tokens, log line). `searched` says whether the store was
    searched, `stored` what it held then, `restored` how many shared tokens were taken from it, `None` if nothing was
    (0 where the line that says how many is missing).
    """

    how: How | None
    lying: dict[int, tuple[int, str]]
    searched: bool
    stored: tuple[Stored, ...]
    restored: int | None


def choice(step: Step) -> Choice:
    """How a request's slot was chosen, as far as its log says."""
    how: How | None = None
    lying: dict[int, tuple[int, str]] = {}
    stored: list[Stored] = []
    scored: dict[str, int] = {}
    searched, restored = False, None
    for line in step.record.evidence.log:
        for mark, word in _HOW:
            if mark in line:
                how = word
        searched |= "looking for better prompt" in line
        if found := _LYING.search(line):
            lying[int(found[1])] = int(found[2]), line
        elif found := _STORED.search(line):
            stored.append(Stored(int(found[1]), int(found[2]), line))
            scored[found[3]] = int(found[2])
        elif found := _RESTORED.search(line):
            restored = scored.get(found[1], 0)
    return Choice(how, lying, searched, tuple(stored), restored)


def saved_lengths(step: Step) -> tuple[int, ...]:
    """Lengths of the prompts that the server put, or tried to put, into its store for this request."""
    return tuple(int(found[1]) for line in step.record.evidence.log if (found := _SAVED.search(line)))


def cleared_slots(step: Step) -> dict[int, str]:
    """The slots that were emptied when this request started, each with its log line."""
    found = ((_CLEARED.search(line), line) for line in step.record.evidence.log)
    return {int(match[1]): line for match, line in found if match is not None and int(match[2])}
