"""Who dropped what: follows the state of the best match from place to place, through the requests since. Pure.

An engine with slots holds one sequence in each. A request that is put on a slot keeps what it shares with the sequence
there and drops the rest; a server may also move a slot's sequence to its store and back. Engines that keep prompts by
their content (`keeps_by_content`) have no such places.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from profiler.causes.base import Case, Step
from profiler.causes.engine_evidence import own, prompt_tokens, shared_tokens
from profiler.causes.engine_log import choice, cleared_slots
from profiler.verdict import LAST_TOKEN, floor_tokens

__all__ = ["SLACK_TOKENS", "Drop", "Trail", "keeps_by_content", "one_place", "trail"]

SLACK_TOKENS: Final = 4
"""Counts of the same prefix differ by so much: the last token of a reply, a token that is evaluated again, a checkpoint
just before the end."""

_BY_CONTENT: Final = frozenset({"mlx-server", "vllm", "sglang"})
_ONE_PLACE: Final = frozenset({"llama-cpp", "llama-cpp-server", "mlx"})


class Drop(msgspec.Struct, frozen=True):
    """Tokens of the prompt, from `start` to `end`, that `step` dropped and this request did not find.

    `shares` is what `step` itself shares with the prompt: less than `start` where somebody since brought a part back.
    """

    step: Step
    start: int
    end: int
    shares: int
    stored: bool = False
    """It did not run in the place of the best match: this request was led to its place, or it took the stored copy."""

    @property
    def tokens(self) -> int:
        """How many they are."""
        return self.end - self.start


class Trail(msgspec.Struct, frozen=True):
    """What became of the best match. `left` is how many tokens of this prompt its place held in the end.

    `where`: in the place that this request got, in another slot, in the server's store, or not known.
    """

    drops: tuple[Drop, ...]
    left: int
    where: Literal["here", "elsewhere", "stored", "unknown"]
    followed: bool
    """Whether slot ids, or there being one place alone, say who ran where; else it is inferred from the counts."""


def keeps_by_content(case: Case) -> bool:
    """Whether the engine keeps prompts by their content, so that no request takes another one's place."""
    return case.facts.engine in _BY_CONTENT


def one_place(case: Case) -> bool:
    """Whether every request runs in the same place."""
    return case.facts.engine in _ONE_PLACE or case.facts.slots == 1


def trail(case: Case) -> Trail | None:
    """What became of the best match; `None` where prompts or counts are not known, or there are no places."""
    verdict, best = case.step.record.verdict, case.best
    if keeps_by_content(case) or best is None or case.step.rendered is None or verdict.reusable_tokens is None:
        return None
    if one_place(case):
        found = _Follower(case, verdict.reusable_tokens)
        for other in case.between:
            found.take(other)
        return found.trail("here", followed=True)
    if best.record.evidence.slot is not None and case.step.record.evidence.slot is not None:
        return _by_slots(case, verdict.reusable_tokens, best.record.evidence.slot, case.step.record.evidence.slot)
    return _by_counts(case, verdict.reusable_tokens)


class _Follower:
    """Keeps account of which tokens of the prompt a place still holds, and of who dropped the others."""

    def __init__(self, case: Case, reusable: int) -> None:
        self._case = case
        self._reusable = reusable
        self._drops: list[Drop] = []
        self.left = reusable

    def take(self, other: Step, *, stored: bool = False) -> None:
        """Another request runs in the place: what it does not share is dropped, what it shares is there again."""
        if other.rendered is None:
            return
        shares = min(shared_tokens(other, self._case.step), self._reusable)
        if shares < self.left:
            self._drops.append(Drop(other, shares, self.left, shares, stored))
        else:
            self._found_again(shares)
        self.left = shares

    def _found_again(self, upto: int) -> None:
        self._drops = [
            msgspec.structs.replace(drop, start=max(drop.start, upto)) for drop in self._drops if drop.end > upto
        ]

    def trail(self, where: Literal["here", "elsewhere", "stored", "unknown"], *, followed: bool) -> Trail:
        """What was followed so far; what the request did find is no loss."""
        cached = self._case.step.record.verdict.cached_tokens or 0
        found = min(max(cached, choice(self._case.step).restored or 0), self._reusable)
        if found > self.left:
            self._found_again(found)
            self.left = found
        # The last generated token was in no cache: nobody dropped it.
        return Trail(tuple(drop for drop in self._drops if drop.tokens > LAST_TOKEN), self.left, where, followed)


def _by_slots(case: Case, reusable: int, held_by: int, mine: int) -> Trail:
    """Slot ids are known: the place is a slot until that is emptied into the store, then wherever it is restored."""
    found = _Follower(case, reusable)
    place: int | None = held_by
    floor = floor_tokens(prompt_tokens(case))
    for other in case.between:
        slot = other.record.evidence.slot
        if slot == place:
            found.take(other)
        elif place is None and choice(other).restored is not None and shared_tokens(other, case.step) > floor:
            found.take(other, stored=True)
            place = slot
        elif place is not None and place in cleared_slots(other):
            place = None
    if place == mine:
        return found.trail("here", followed=True)
    chosen = choice(case.step)
    # Slots that hold something are listed where similarity counts: one that is not was emptied by somebody unseen. For
    # a pinned request only its own slot is looked at.
    if place is not None and (place in chosen.lying or not chosen.lying or chosen.how == "pinned"):
        return found.trail("elsewhere", followed=True)
    last = next((other for other in reversed(case.between) if other.record.evidence.slot == mine), None)
    if last is not None and chosen.how == "similar" and not chosen.searched:
        found.take(last, stored=True)
        return found.trail("here", followed=True)
    return found.trail("stored", followed=True)


def _by_counts(case: Case, reusable: int) -> Trail:
    """Nothing says who ran where: the latest request that leaves just what was found has dropped the rest."""
    cached = case.step.record.verdict.cached_tokens or 0
    floor = floor_tokens(prompt_tokens(case))
    found = _Follower(case, reusable)
    for other in reversed(case.between):
        if other.rendered is None:
            continue
        shares = min(shared_tokens(other, case.step), reusable)
        both_small = cached <= floor and shares <= floor
        coarse = case.facts.cache_kind not in (None, "full") and floor < shares and cached < shares
        if abs(shares - cached) <= SLACK_TOKENS or both_small or (coarse and not own(other, case.step)):
            found.take(other)
            return found.trail("here", followed=False)
    return found.trail("unknown", followed=False)
