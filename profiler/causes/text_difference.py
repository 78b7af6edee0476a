"""Where two rendered prompts differ, in characters and in tokens. Pure; it knows no messages.

Both are exact: lines that stayed the same separate the changes of the text, runs of the same tokens those of the token
ids. What a later prompt merely adds behind the earlier one is no change.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

import msgspec

from profiler.causes.alignment import Gap, equal_runs, gaps
from profiler.ledger import TOKEN_BYTES, common_prefix_tokens

__all__ = ["Hunk", "common_prefix", "kind_of_hunk", "text_hunks", "token_gaps"]

MAX_LINES = 50_000
MAX_TOKENS = 400_000
"""Longer stretches between the first and the last difference count as one change: nobody reads that many."""
_UNIT_END = re.compile(r"(?<=\n)|(?=<\||<\uff5c|<start_of_turn>|\[/?INST\])")
"""What is compared ends with a line, or where a template's next mark begins: some write no line ends."""
RUN_TOKENS = 8
"""So many tokens in a row are enough to recognise a place by."""

SURE_TOKENS = 64
"""So many tokens in a row are the same place, where it is the nearest on both sides."""
_NEAR = sorted(((a, b) for a in range(25) for b in range(25)), key=lambda step: (sum(step), step))


class Hunk(msgspec.Struct, frozen=True):
    """One change of the text: `old` became `new`, whole lines of both sides, from `line_start` on in the old text.

    `start` to `end` are the characters of the old text that really differ, `new_start` to `new_end` those of the new:
    at both starts stands the first character that differs.
    """

    line_start: int
    old: str
    new: str
    start: int
    end: int
    new_start: int
    new_end: int


def kind_of_hunk(hunk: Hunk) -> Literal["changed", "inserted", "removed"]:
    """Whether lines were put in, taken out or changed."""
    if not hunk.new.strip():
        return "removed"
    return "changed" if hunk.old.strip() else "inserted"


def common_prefix(a: str, b: str) -> int:
    """Length of the common prefix of two texts; the comparison itself is memcmp."""
    end = min(len(a), len(b))
    same, step = 0, 1024
    while same < end:
        upto = min(same + step, end)
        if a[same:upto] == b[same:upto]:
            same, step = upto, step * 2
        elif upto - same == 1:
            break
        else:
            step = (upto - same) // 2
    return same


def text_hunks(old: str, new: str) -> list[Hunk]:
    """The changes of the text, line by line; none where `new` only goes on from `old`."""
    same = common_prefix(old, new)
    if same == len(old):
        return []
    begin = old.rfind("\n", 0, same) + 1
    many = max(old.count("\n", begin), new.count("\n", begin)) > MAX_LINES
    ours, theirs = ([old[begin:]], [new[begin:]]) if many else (_units(old[begin:]), _units(new[begin:]))
    between = gaps(equal_runs(ours, theirs), len(ours), len(theirs))
    our_at = list(accumulate(map(len, ours), initial=begin))
    their_at = list(accumulate(map(len, theirs), initial=begin))
    hunks = [
        _hunk(old, new, Gap(our_at[g.old_start], our_at[g.old_end], their_at[g.new_start], their_at[g.new_end]))
        for g in between
    ]
    return [hunk for hunk in hunks if hunk.start < hunk.end or hunk.end < len(old)]


def _units(text: str) -> list[str]:
    return [unit for unit in _UNIT_END.split(text) if unit]


def _hunk(old: str, new: str, gap: Gap) -> Hunk:
    ours, theirs = old[gap.old_start : gap.old_end], new[gap.new_start : gap.new_end]
    same = common_prefix(ours, theirs)
    tail = common_prefix(ours[same:][::-1], theirs[same:][::-1])
    start, new_start = gap.old_start + same, gap.new_start + same
    end, new_end = gap.old_end - tail, gap.new_end - tail
    if start == end or new_start == new_end:
        # What was put in or taken out may begin like what follows it: the first character that differs lies behind.
        most = max(end - start, new_end - new_start)
        slid = common_prefix(old[start : start + most], new[new_start : new_start + most])
        start, end, new_start, new_end = start + slid, end + slid, new_start + slid, new_end + slid
    return Hunk(gap.old_start, ours, theirs, start, end, new_start, new_end)


def token_gaps(old: array[int], new: array[int]) -> list[Gap]:
    """The changes of the token ids; what `new` adds behind `old` is none."""
    same = common_prefix_tokens(old.tobytes(), new.tobytes())
    if same == len(old):
        return []
    ours, theirs = old[same:], new[same:]
    if len(ours) > MAX_TOKENS or len(theirs) > MAX_TOKENS:
        return [Gap(same, len(old), same, len(new))]
    runs = _near_runs(ours, theirs)
    i, j = (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]) if runs else (0, 0)
    if i < len(ours) and j < len(theirs):
        rest, other = ours[i:], theirs[j:]
        further = equal_runs(rest, other, (_keys(rest), _keys(other)))
        runs += [(p + i, q + j, n) for p, q, n in further if n >= RUN_TOKENS]
    between = gaps(runs, len(ours), len(theirs))
    found = [Gap(g.old_start + same, g.old_end + same, g.new_start + same, g.new_end + same) for g in between]
    return [gap for gap in found if gap.old_start < len(old)]


def _near_runs(old: array[int], new: array[int]) -> list[tuple[int, int, int]]:
    """Equal runs as long as each begins a few tokens behind the last on both sides.

    Most changes are a few tokens in a long prompt, and comparing bytes finds those many times faster than aligning.
    """
    runs: list[tuple[int, int, int]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        near = next(
            (p for p in _NEAR if old[i + p[0] : i + p[0] + SURE_TOKENS] == new[j + p[1] : j + p[1] + SURE_TOKENS]), None
        )
        if near is None or len(old) - i - near[0] < SURE_TOKENS:
            return runs
        i, j = i + near[0], j + near[1]
        same = common_prefix_tokens(old[i:].tobytes(), new[j:].tobytes())
        runs.append((i, j, same))
        i, j = i + same, j + same
    return runs


def _keys(tokens: array[int]) -> Sequence[bytes]:
    data = tokens.tobytes()
    size = RUN_TOKENS * TOKEN_BYTES
    return [data[at : at + size] for at in range(0, len(data) - size + 1, TOKEN_BYTES)]
