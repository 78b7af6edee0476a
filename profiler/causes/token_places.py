"""At which token each change of the text begins, and by how many tokens it made the prompt shorter. Pure.

The changes of the text and those of the tokens are two views of the same things, in the same order: each change of the
text gets the one of the tokens that fits best by its place and its size, and an estimate between known places where
none does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import log
from typing import Final, NamedTuple

from profiler.causes.alignment import Gap
from profiler.causes.text_difference import Hunk
from profiler.rendered import Rendered

__all__ = ["Placed", "Scale", "place_hunks"]

NEAR_TOKENS: Final = 12
NEAR_SHARE: Final = 0.25
"""How far an estimate may be off: a few tokens, and a share of the way from the last known place (texts differ in how
many characters make a token)."""
FARTHEST: Final = log(3)
LEFT_OUT: Final = 0.7
"""What it costs a fit to leave a change of the tokens out, as a log of how far off a place may be instead."""
LOOK_AHEAD: Final = 16


class Placed(NamedTuple):
    """A change of the text with its first token in the previous sequence. `gap` is the change of the tokens that it
    belongs to, by its index; `None` where the token is an estimate.
    """

    hunk: Hunk
    token: int
    shrunk_tokens: int
    gap: int | None


class Scale(NamedTuple):
    """What is known of the characters and tokens of a comparison: the prompt's, with the reply, and of the new text."""

    prompt: tuple[int, int]
    whole: tuple[int, int]
    new_tokens: int
    new_density: float

    @classmethod
    def of(cls, previous: Rendered, now: Rendered, old_chars: int) -> Scale:
        """The scale of two prompts; `old_chars` counts the text of the reply too."""
        prompt = len(previous.text), len(previous.token_ids)
        whole = old_chars, len(previous.sequence)
        return cls(prompt, whole, len(now.token_ids), len(now.token_ids) / max(1, len(now.text)))

    def token_of(self, char: int) -> int:
        """The token of a character of the old text, by the line between the known places around it."""
        return _between((0, 0), char, self)

    def reply_density(self) -> float:
        """Tokens a character of the reply, where it is known; else of the new text."""
        chars, tokens = self.whole[0] - self.prompt[0], self.whole[1] - self.prompt[1]
        return tokens / chars if chars > 0 and tokens > 0 else self.new_density


def place_hunks(hunks: Sequence[Hunk], gaps: Sequence[Gap], scale: Scale) -> list[Placed]:
    """Each change of the text with its token, in order."""
    places = _places(hunks, gaps, scale)
    shrunk = [0] * len(hunks)
    starts = [token for token, _ in places]
    first = next((gap for _, gap in places if gap is not None), 0)
    for index, gap in enumerate(gaps):
        owner = max(0, bisect_right(starts, gap.old_start) - 1)
        if hunks and index >= first:
            mine = [h for h, (_, g) in zip(hunks, places, strict=True) if g == index]
            shrunk[owner] += gap.old_end - gap.old_start - _new_tokens(gap, mine, scale)
    return [Placed(h, token, n, gap) for h, (token, gap), n in zip(hunks, places, shrunk, strict=True)]


def _new_tokens(gap: Gap, hunks: Sequence[Hunk], scale: Scale) -> int:
    """Tokens of the new side of a gap; of one that reaches the end, those that stand for the old side alone."""
    count = gap.new_end - gap.new_start
    if gap.new_end < scale.new_tokens:
        return count
    if not hunks:
        # The text is the same there: it only goes on.
        return gap.old_end - gap.old_start
    chars = sum(hunk.new_end - hunk.new_start for hunk in hunks)
    density = scale.reply_density() if hunks[-1].end > scale.prompt[0] else scale.new_density
    return min(count, round(chars * density))


def _places(hunks: Sequence[Hunk], gaps: Sequence[Gap], scale: Scale) -> list[tuple[int, int | None]]:
    places: list[tuple[int, int | None]] = []
    known = (0, 0)
    following = 0
    for hunk in hunks:
        estimate = _between(known, hunk.start, scale)
        index = _fitting(gaps, following, hunk, known, estimate, scale)
        if index is None:
            inside = following > 0 and places and gaps[following - 1].old_end > estimate
            token = max(estimate, places[-1][0]) if places else estimate
            places.append((token, following - 1 if inside else None))
            continue
        gap = gaps[index]
        places.append((gap.old_start, index))
        following = index + 1
        known = _behind(hunk, gap, scale)
    if gaps and places and all(index is None for _, index in places):
        places[0] = (gaps[0].old_start, 0)
    return places


def _fitting(
    gaps: Sequence[Gap], first: int, hunk: Hunk, known: tuple[int, int], estimate: int, scale: Scale
) -> int | None:
    """The change of the tokens that fits best: near the estimate, of about the size, and none left out before it."""
    if first >= len(gaps):
        return None
    if not first and estimate <= 2 * gaps[first].old_end + NEAR_TOKENS:
        # The first of both are the same thing, unless the tokens changed long before the text did.
        return first
    expected = max(0, estimate - known[1]) + NEAR_TOKENS
    costs: list[tuple[float, int]] = []
    for index in range(first, min(first + LOOK_AHEAD, len(gaps))):
        gap = gaps[index]
        away = log((max(0, gap.old_start - known[1]) + NEAR_TOKENS) / expected)
        if abs(away) <= FARTHEST:
            costs.append((abs(away) + _unlike(gap, hunk, scale) + LEFT_OUT * (index - first), index))
    return min(costs)[1] if costs else None


def _unlike(gap: Gap, hunk: Hunk, scale: Scale) -> float:
    """How much a change of the tokens differs in size from one of the text, on both sides: 0 where it does not."""
    sides = [(gap.old_end - gap.old_start, hunk.end - hunk.start)]
    if gap.new_end < scale.new_tokens:
        # Else the new side holds what was added behind it, too.
        sides.append((gap.new_end - gap.new_start, hunk.new_end - hunk.new_start))
    return sum(abs(log((tokens + NEAR_TOKENS) / (chars * scale.new_density + NEAR_TOKENS))) for tokens, chars in sides)


def _behind(hunk: Hunk, gap: Gap, scale: Scale) -> tuple[int, int]:
    """The known place that a change leaves: its end, or its beginning where the gap is but a part of it."""
    (chars, tokens) = scale.prompt if scale.prompt[0] else scale.whole
    expected = (hunk.end - hunk.start) * tokens / max(1, chars)
    partial = abs(expected - (gap.old_end - gap.old_start)) > NEAR_TOKENS + NEAR_SHARE * expected
    return (hunk.start, gap.old_start) if partial else (hunk.end, gap.old_end)


def _between(known: tuple[int, int], char: int, scale: Scale) -> int:
    """The token of a character, by the line from the last known place to the next."""
    ahead = scale.prompt if known[0] < scale.prompt[0] and char <= scale.prompt[0] else scale.whole
    if char <= scale.prompt[0] < ahead[0]:
        ahead = scale.prompt
    (c0, t0), (c1, t1) = known, ahead
    if c0 < scale.prompt[0] < char:
        c0, t0 = scale.prompt
    if c1 <= c0:
        return t1
    return min(t1, t0 + round((t1 - t0) * (char - c0) / (c1 - c0)))
