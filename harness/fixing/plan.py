"""Choose levers for a stored run and predict what each would save, before any is set. Reads the run; sends nothing.

Levers that act on one session are set one after the other, so each is predicted on top of those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from backends.base import TargetError
from harness.fixing.prediction import Candidate, Losses, Predictor, sessions_of_causes, tokens_in, worth
from profiler.causes.catalogue import kind_of
from profiler.causes.levers import Lever, levers_of
from profiler.findings import Findings
from profiler.fix_document import Advice, How, LeverRow, Predicted, priced
from profiler.store import StoredRun

__all__ = ["FixPlan", "PlannedLever", "Wanted", "plan_fix"]

ACROSS_SESSIONS: Final = frozenset({"E7", "E17"})
"""Causes that earlier sessions bring about: such a run is repeated whole, on one engine."""

_NOTES: Final[dict[How, str]] = {
    "charge": "what the repaired session does not evaluate again",
    "simulation": "the engine's cache policy, simulated with and without it on this run's own tokens",
    "upper_bound": "all that its causes cost: at most this much, since no model of this cache reproduces the run",
}


class Wanted(msgspec.Struct, frozen=True):
    """What the user asked for: levers by number, causes by code, or neither for the best lever of each cause."""

    levers: tuple[int, ...] = ()
    causes: tuple[str, ...] = ()
    all_sessions: bool = False

    @property
    def picked(self) -> bool:
        """Whether levers are to be set whatever is predicted."""
        return bool(self.levers or self.causes)


class PlannedLever(NamedTuple):
    """A lever with its row in the document, and what it is predicted to save, request by request."""

    row: LeverRow
    lever: Lever
    saved: Losses


class FixPlan(msgspec.Struct, frozen=True):
    """Every lever that dyno could set, the chosen ones in the order in which they are set; and the sessions in blocks
    of those that one engine serves.
    """

    levers: tuple[PlannedLever, ...]
    chosen: tuple[PlannedLever, ...]
    blocks: tuple[tuple[str, ...], ...]
    untestable: tuple[Advice, ...]


def plan_fix(path: Path, run: StoredRun, found: Findings, wanted: Wanted) -> FixPlan:
    """The plan for the run in folder `path` with these findings.

    Raises:
        TargetError: no lever has that number, or no lever that dyno can set works on that cause in this run.
        StoreError: the run's prompts cannot be read.
    """
    engine = run.info.facts.engine
    every = _candidates(found, engine)
    _check(wanted, every, found)
    blocks = _blocks(run, found)
    predictor = Predictor(path, run, found, blocks)
    launched = run.info.facts.launched
    settable = [c for c in _picked(every, wanted) if launched or not c.lever.options]
    chosen = _assigned(settable, predictor, found)
    ordered = _ordered(chosen, predictor, always=wanted.picked)
    numbers = {candidate.lever.text: number for number, candidate in enumerate(every, 1)}
    rows: list[PlannedLever] = []
    before: list[Candidate] = []
    for candidate in ordered:
        saved, how = predictor.marginal(before, candidate)
        rows.append(_planned(candidate, saved, how, numbers, found, chosen=True, reason=""))
        before.append(candidate)
    done = {planned.lever.text for planned in rows}
    left = [c for c in every if c.lever.text not in done]
    others = [_left_out(c, predictor, numbers, before, wanted, launched=launched) for c in left]
    levers = sorted((*rows, *others), key=lambda planned: planned.row.number)
    acted = {name for planned in rows for name in planned.row.sessions}
    kept = blocks if wanted.all_sessions else tuple(block for block in blocks if acted & set(block))
    return FixPlan(tuple(levers), tuple(rows), kept, _advice(found, every, run.info.facts.engine))


def _candidates(found: Findings, engine: str) -> list[Candidate]:
    """The levers that dyno can set, each once with its causes; those of the costliest cause first."""
    rows: dict[str, tuple[Lever, list[str]]] = {}
    for total in found.totals:
        for lever in levers_of(total.code, engine):
            if lever.testable:
                rows.setdefault(lever.text, (lever, []))[1].append(total.code)
    return [Candidate(lever, tuple(codes)) for lever, codes in rows.values()]


def _check(wanted: Wanted, every: Sequence[Candidate], found: Findings) -> None:
    for number in wanted.levers:
        if not 1 <= number <= len(every):
            has = f"this run has levers 1 to {len(every)}" if every else "this run has no lever that dyno can set"
            raise TargetError(f"no lever {number}", hint=f"{has}: see dyno fix without --lever")
    for code in wanted.causes:
        if not any(code in candidate.codes for candidate in every):
            lost = ", ".join(total.code for total in found.totals) or "none"
            hint = f"causes of this run: {lost}; dyno explain says what only you can change"
            raise TargetError(f"dyno can set nothing against the cause {code} in this run", hint=hint)


def _picked(every: Sequence[Candidate], wanted: Wanted) -> list[Candidate]:
    if wanted.levers:
        return [candidate for number, candidate in enumerate(every, 1) if number in wanted.levers]
    if not wanted.causes:
        return list(every)
    mine = [msgspec.structs.replace(c, codes=tuple(x for x in c.codes if x in wanted.causes)) for c in every]
    return [own for own in mine if own.codes]


def _blocks(run: StoredRun, found: Findings) -> tuple[tuple[str, ...], ...]:
    names = tuple(dict.fromkeys(record.session for record in run.requests))
    if any(total.code in ACROSS_SESSIONS for total in found.totals):
        return (names,)
    return tuple((name,) for name in names)


def _assigned(picked: Sequence[Candidate], predictor: Predictor, found: Findings) -> list[Candidate]:
    """Each cause to the lever that saves most in its sessions, the first of equals; levers left without one go."""
    alone = {c.lever.text: predictor.marginal((), c)[0] for c in picked}
    mine: dict[str, list[str]] = {}
    for total in found.totals:
        sessions = sessions_of_causes((total.code,), found)
        rivals = [c for c in picked if total.code in c.codes]
        if rivals:
            best = max(rivals, key=lambda c: tokens_in(alone[c.lever.text], sessions))
            mine.setdefault(best.lever.text, []).append(total.code)
    return [msgspec.structs.replace(c, codes=tuple(mine[c.lever.text])) for c in picked if c.lever.text in mine]


def _ordered(chosen: Sequence[Candidate], predictor: Predictor, *, always: bool) -> list[Candidate]:
    """The order in which levers are set: each time the one that saves most on top. Those that save nothing go."""
    ordered: list[Candidate] = []
    waiting = list(chosen)
    while waiting:
        gains = [worth(predictor.marginal(ordered, c)[0], predictor.found) for c in waiting]
        best = max(range(len(waiting)), key=lambda at: gains[at])
        if gains[best] <= 0 and not always:
            waiting = [c for c in waiting if c.lever.rewrite]
            if not predictor.repairs_together(ordered, waiting):
                break
            best = 0
        ordered.append(waiting.pop(best))
    return ordered


def _planned(
    candidate: Candidate,
    saved: Losses,
    how: How,
    numbers: Mapping[str, int],
    found: Findings,
    *,
    chosen: bool,
    reason: str,
) -> PlannedLever:
    lever, sessions = candidate.lever, sessions_of_causes(candidate.codes, found)
    here = [loss for (session, _, _), losses in saved.items() if session in sessions for loss in losses]
    elsewhere: dict[str, int] = {}
    for (session, _, _), losses in saved.items():
        if session not in sessions:
            elsewhere[session] = elsewhere.get(session, 0) + sum(loss.tokens for loss in losses)
    seconds, low_s, high_s = priced(found.model, here)
    tokens = sum(loss.tokens for loss in here)
    row = LeverRow(
        number=numbers[lever.text],
        codes=candidate.codes,
        text=lever.text,
        where=lever.where,
        also=lever.also,
        options=lever.options,
        parameters=lever.parameters,
        rewrite=lever.rewrite,
        sessions=sessions,
        chosen=chosen,
        reason=reason,
        predicted=Predicted(tokens, seconds, low_s, high_s, how, _NOTES[how], elsewhere),
    )
    return PlannedLever(row, lever, saved)


def _left_out(
    candidate: Candidate,
    predictor: Predictor,
    numbers: Mapping[str, int],
    before: Sequence[Candidate],
    wanted: Wanted,
    *,
    launched: bool,
) -> PlannedLever:
    """A lever that is not set, with the reason; predicted as if it were set alone."""
    found = predictor.found
    saved, how = predictor.marginal((), candidate)
    covered = {code for c in before for code in c.codes}
    if candidate.lever.options and not launched:
        reason = "dyno did not start this server: restart it so, then measure again with dyno cache"
    elif wanted.picked:
        reason = "not asked for"
    elif set(candidate.codes) & covered:
        reason = "another lever against the same cause is predicted to save as much or more"
    elif tokens_in(saved, sessions_of_causes(candidate.codes, found)) > 0:
        reason = "predicted to lose more in other sessions than it saves"
    else:
        reason = "predicted to save nothing"
    return _planned(candidate, saved, how, numbers, found, chosen=False, reason=reason)


def _advice(found: Findings, every: Sequence[Candidate], engine: str) -> tuple[Advice, ...]:
    testable = {code for candidate in every for code in candidate.codes}
    rows: list[Advice] = []
    for total in found.totals:
        if total.code not in testable:
            words = " Or: ".join(lever.text for lever in levers_of(total.code, engine))
            lost_s = total.price.s if total.price else None
            rows.append(Advice(total.code, kind_of(total.code).title, total.tokens, lost_s, words))
    return tuple(rows)
