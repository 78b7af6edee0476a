"""Equal runs of two sequences, in order: what stayed the same between two histories, texts or token lists. Pure.

Patience diff (Bram Cohen): elements that occur once on each side are anchors, the longest increasing run of them is
kept, and what lies between two anchors is compared in the same way. Where nothing occurs once, only the equal ends of a
stretch are found. Near-linear always: no element is looked at more often than a few times `MAX_DEPTH`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

__all__ = ["Gap", "equal_runs", "gaps"]

MAX_DEPTH = 6

_Range = tuple[int, int, int, int]


class Gap(NamedTuple):
    """A stretch that is not equal: `old[old_start:old_end]` stands where `new[new_start:new_end]` does."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def equal_runs(
    old: Sequence[Any], new: Sequence[Any], keys: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None
) -> list[tuple[int, int, int]]:
    """The equal runs as (start in old, start in new, length), growing on both sides.

    `keys` are what anchors are found by, where single elements say too little (a token stands for nothing, eight in a
    row do); the element that a key stands for must be the first of what it says.
    """
    found: list[tuple[int, int, int]] = []
    todo = [((0, len(old), 0, len(new)), MAX_DEPTH)]
    while todo:
        (i, i_end, j, j_end), depth = todo.pop()
        same = 0
        upto = min(i_end - i, j_end - j)
        while same < upto and old[i + same] == new[j + same]:
            same += 1
        if same:
            found.append((i, j, same))
            i, j, upto = i + same, j + same, upto - same
        if not (i < i_end and j < j_end and depth):
            continue
        ours, theirs = keys if keys is not None else (old, new)
        parts = _parts(ours, theirs, (i, i_end, j, j_end))
        # What comes last on both sides is no equal end: the new side goes on behind the old one.
        if not parts and not (i_end == len(old) and j_end == len(new)):
            same = 0
            while same < upto and old[i_end - 1 - same] == new[j_end - 1 - same]:
                same += 1
            if same:
                i_end, j_end = i_end - same, j_end - same
                found.append((i_end, j_end, same))
                parts = [(i, i_end, j, j_end)] if i < i_end and j < j_end else []
        todo += [(part, depth - 1) for part in parts]
    found.sort()
    return _joined(found)


def gaps(runs: Sequence[tuple[int, int, int]], old_length: int, new_length: int) -> list[Gap]:
    """What lies between the runs, the ends included; a gap may be empty on one side, never on both."""
    edges = [(0, 0, 0), *runs, (old_length, new_length, 0)]
    between = (Gap(i + n, p, j + n, q) for (i, j, n), (p, q, _) in pairwise(edges))
    return [gap for gap in between if gap.old_end > gap.old_start or gap.new_end > gap.new_start]


def _parts(old: Sequence[Hashable], new: Sequence[Hashable], within: _Range) -> list[_Range]:
    """The range cut at its anchors; each part but the first begins with one."""
    i, i_end, j, j_end = within
    anchors = _anchors(old, new, within)
    if not anchors:
        return []
    edges = [(i, j), *anchors, (i_end, j_end)]
    return [(p, r, q, s) for (p, q), (r, s) in pairwise(edges) if r > p and s > q]


def _anchors(old: Sequence[Hashable], new: Sequence[Hashable], within: _Range) -> list[tuple[int, int]]:
    i, i_end, j, j_end = within
    ours, theirs = _once(old, i, i_end), _once(new, j, j_end)
    pairs = [(p, theirs[key]) for key, p in ours.items() if key in theirs]
    rising = _rising(pairs)
    # What only goes on from the anchor before is found with it.
    return rising[:1] + [(r, s) for (p, q), (r, s) in pairwise(rising) if (r - p, s - q) != (1, 1)]


def _once(items: Sequence[Hashable], start: int, end: int) -> dict[Hashable, int]:
    """The items that occur once, in order, with their index."""
    at: dict[Hashable, int] = {}
    repeated: set[Hashable] = set()
    for index in range(start, min(end, len(items))):
        item = items[index]
        if item in at:
            repeated.add(item)
        else:
            at[item] = index
    return {item: index for item, index in at.items() if item not in repeated} if repeated else at


def _rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs that rise on the second side too (they rise on the first)."""
    tails: list[int] = []
    tail_of: list[int] = []
    before: list[int] = []
    for number, (_, q) in enumerate(pairs):
        at = bisect_left(tails, q)
        before.append(tail_of[at - 1] if at else -1)
        if at == len(tails):
            tails.append(q)
            tail_of.append(number)
        else:
            tails[at], tail_of[at] = q, number
    chain: list[tuple[int, int]] = []
    number = tail_of[-1] if tail_of else -1
    while number >= 0:
        chain.append(pairs[number])
        number = before[number]
    return chain[::-1]


def _joined(found: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    joined: list[tuple[int, int, int]] = []
    for i, j, n in found:
        if joined and joined[-1][0] + joined[-1][2] == i and joined[-1][1] + joined[-1][2] == j:
            joined[-1] = (joined[-1][0], joined[-1][1], joined[-1][2] + n)
        else:
            joined.append((i, j, n))
    return joined
