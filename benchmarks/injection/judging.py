"""Whether the causes that were named are those that were put in: request by request, and over many cases. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from benchmarks.injection.case import CLEAN, Made

__all__ = ["Fault", "Outcome", "Seen", "Tally", "confusion", "judged", "tallied"]


class Fault(msgspec.Struct, frozen=True):
    """A request whose causes are not as they should be. `lost_tokens` are those of both sides."""

    turn: int
    kind: Literal["missed", "wrong", "false alarm"]
    wanted: tuple[str, ...]
    named: tuple[str, ...]
    lost_tokens: tuple[int, int]
    text: str


class Outcome(msgspec.Struct, frozen=True):
    """What came of one case. `named` has the codes of each request; `faults` is empty for a case named correctly."""

    name: str
    engine: str
    kind: str
    code: str
    form: str
    seed: int
    named: tuple[tuple[str, ...], ...]
    faults: tuple[Fault, ...]
    seconds: float
    skipped: str | None = None


class Seen(msgspec.Struct, frozen=True):
    """What dyno said of one request: codes, tokens lost on the prompt's and on the engine's side, in words."""

    codes: tuple[str, ...]
    lost: tuple[int, int]
    text: str


def judged(made: Made, seen: Sequence[Seen]) -> tuple[Fault, ...]:
    """The requests at which something else was named than what was put in."""
    found: list[Fault] = []
    for turn, one in enumerate(seen):
        wanted, allowed = made.must.get(turn, ()), made.may.get(turn, frozenset())
        named = frozenset(one.codes)
        missing = [codes for codes in wanted if not codes & named]
        extra = named - allowed - frozenset().union(*wanted)
        if not missing and not extra:
            continue
        kind: Literal["missed", "wrong", "false alarm"] = (
            "false alarm" if not missing else "wrong" if named else "missed"
        )
        said = tuple("|".join(sorted(codes)) for codes in wanted)
        found.append(Fault(turn, kind, said, one.codes, one.lost, one.text))
    return tuple(found)


def confusion(outcomes: Iterable[Outcome], must: Mapping[str, Made]) -> dict[str, Counter[str]]:
    """Injected code → named code → requests, over the requests at which something had to be named, and clean cases.

    A request at which one of the wanted codes was named counts for it; else for what was named, or for «nothing».
    """
    table: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        made = must[outcome.name]
        if outcome.code == CLEAN:
            row = table.setdefault(CLEAN, Counter())
            for said in outcome.named:
                row.update(said or ("nothing",))
            continue
        for turn, wanted in made.must.items():
            named = outcome.named[turn] if turn < len(outcome.named) else ()
            for codes in wanted:
                row = table.setdefault("|".join(sorted(codes)), Counter())
                right = sorted(codes & frozenset(named))
                others = [c for c in named if c not in made.may.get(turn, ()) and not any(c in w for w in wanted)]
                row.update(right or others or ["nothing"])
    return table


class Tally(msgspec.Struct):
    """Cases of one group: how many, and how many were named correctly in every request."""

    cases: int = 0
    right: int = 0
    requests: int = 0


def tallied(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], Tally]:
    """By engine and cache kind, the clean cases apart."""
    table: dict[tuple[str, str], Tally] = {}
    for outcome in outcomes:
        group = f"{outcome.engine} {outcome.kind}", "clean" if outcome.code == CLEAN else "injected"
        tally = table.setdefault(group, Tally())
        tally.cases += 1
        tally.right += not outcome.faults
        tally.requests += len(outcome.named)
    return table
