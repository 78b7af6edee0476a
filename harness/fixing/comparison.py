"""From the runs of `dyno fix` to its document: predicted beside measured, by lever and in total. Measures nothing.

A lever is compared with the replay of the same sessions under the levers before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from harness.fixing.plan import FixPlan
from harness.fixing.prediction import Losses
from harness.fixing.rerun import Chain, chain_of
from profiler.causes.catalogue import kind_of
from profiler.findings import Findings, find
from profiler.fix_document import FixDocument, FixRun, Key, Measured, Remaining, compare, key_of
from profiler.guards import drift, judge
from profiler.records import RequestRecord
from profiler.store import StoredRun, read_run

__all__ = ["Arms", "document_of", "numbers_of"]

Numbers = tuple[int, ...]


class Arms(msgspec.Struct, frozen=True):
    """The folders of the runs, by the numbers of the levers in force; `()` is the baseline."""

    paths: dict[Numbers, Path]
    baseline: Literal["again", "stored"]
    status: str


def document_of(
    run: StoredRun,
    found: Findings,
    plan: FixPlan,
    arms: Arms | None,
    *,
    everywhere: bool,
    notes: tuple[str, ...] = (),
) -> FixDocument:
    """The plan as a document; with `arms`, also what was measured."""
    played = {numbers: read_run(path) for numbers, path in arms.paths.items()} if arms else {}
    measured = _measured(plan, arms, played, found, everywhere=everywhere) if arms else {}
    rows = tuple(msgspec.structs.replace(p.row, measured=measured.get(p.row.number)) for p in plan.levers)
    anchors = sorted((a for stored in played.values() for a in stored.anchors), key=lambda anchor: anchor.at_ns)
    again = arms is not None and arms.baseline == "again"
    return FixDocument(
        schema=1,
        run=run.info.run_id,
        target=run.info.target,
        engine=run.info.facts.engine,
        build=run.info.facts.build,
        applied=arms is not None,
        status=arms.status if arms else "planned",
        baseline=arms.baseline if arms else None,
        priced_by=found.model.source if found.model else None,
        levers=rows,
        total=_total(plan, arms, played, found, everywhere=everywhere) if arms else None,
        untestable=plan.untestable,
        runs=tuple(FixRun(numbers, stored.info.run_id) for numbers, stored in played.items() if numbers or again),
        doubts=drift(anchors),
        notes=(*notes, *(note for stored in played.values() for note in stored.notes)),
    )


def numbers_of(chain: Chain) -> Numbers:
    """The numbers of some levers."""
    return tuple(planned.row.number for planned in chain)


class _Side(msgspec.Struct):
    """Some sessions of one run."""

    run: StoredRun
    sessions: set[str]

    @property
    def records(self) -> list[RequestRecord]:
        return [record for record in self.run.requests if record.session in self.sessions]


def _measured(
    plan: FixPlan, arms: Arms, played: Mapping[Numbers, StoredRun], found: Findings, *, everywhere: bool
) -> dict[int, Measured]:
    """What each lever saved, by its number; nothing for one that was not reached."""
    measured: dict[int, Measured] = {}
    for planned in plan.chosen:
        sides: list[tuple[Numbers, Numbers, Sequence[str]]] = []
        for block in plan.blocks:
            chain = chain_of(plan, block, everywhere=everywhere)
            if planned in chain:
                at = chain.index(planned)
                sides.append((numbers_of(chain[:at]), numbers_of(chain[: at + 1]), block))
        result = _compared(sides, arms, played, planned.saved, found, planned.row.sessions)
        if result is not None:
            measured[planned.row.number] = result
    return measured


def _total(
    plan: FixPlan, arms: Arms, played: Mapping[Numbers, StoredRun], found: Findings, *, everywhere: bool
) -> Measured | None:
    sides: list[tuple[Numbers, Numbers, Sequence[str]]] = []
    predicted: Losses = {}
    for block in plan.blocks:
        chain = chain_of(plan, block, everywhere=everywhere)
        if chain:
            sides.append(((), numbers_of(chain), block))
            _add_predicted(predicted, chain, set(block))
    names = tuple(dict.fromkeys(name for planned in plan.chosen for name in planned.row.sessions))
    return _compared(sides, arms, played, predicted, found, names)


def _add_predicted(predicted: Losses, chain: Chain, sessions: set[str]) -> None:
    """What levers are to save together in the sessions in which they are in force."""
    for planned in chain:
        for key, losses in planned.saved.items():
            if key[0] in sessions:
                predicted[key] = (*predicted.get(key, ()), *losses)


def _compared(
    sides: Iterable[tuple[Numbers, Numbers, Sequence[str]]],
    arms: Arms,
    played: Mapping[Numbers, StoredRun],
    predicted: Losses,
    found: Findings,
    sessions: tuple[str, ...],
) -> Measured | None:
    before: list[RequestRecord] = []
    after: list[RequestRecord] = []
    remaining: dict[str, Remaining] = {}
    doubtful: set[Key] = set()
    for old, new, block in sides:
        if old not in played or new not in played:
            continue
        was, then = _Side(played[old], set(block)), _Side(played[new], set(block))
        before += was.records
        after += then.records
        both = {key_of(record) for record in was.records} & {key_of(record) for record in then.records}
        doubtful |= both & (_doubtful(was) | _doubtful(then))
        _add_remaining(remaining, arms.paths[new], then.run, set(block) & set(sessions))
    if not after:
        return None
    left = tuple(sorted(remaining.values(), key=lambda cause: (-(cause.lost_s or 0.0), -cause.tokens)))
    return compare(before, after, predicted, found.model, doubtful=len(doubtful), remaining=left)


def _doubtful(side: _Side) -> set[Key]:
    """The requests that were measured on a disturbed machine."""
    found: set[Key] = set()
    for record in side.records:
        stamps = record.stamps
        window = stamps.sent_ns, stamps.done_ns or stamps.last_delta_ns or stamps.sent_ns
        if any(guard.severity == "doubtful" for guard in judge(side.run.guards, window)):
            found.add(key_of(record))
    return found


def _add_remaining(remaining: dict[str, Remaining], path: Path, run: StoredRun, sessions: set[str]) -> None:
    for total in find(path, run, sessions=frozenset(sessions)).totals:
        if not total.tokens:
            continue
        lost_s = total.price.s if total.price else None
        row = remaining.get(total.code, Remaining(total.code, kind_of(total.code).title, 0, 0.0))
        known = row.lost_s is not None and lost_s is not None
        remaining[total.code] = msgspec.structs.replace(
            row,
            tokens=row.tokens + total.tokens,
            lost_s=(row.lost_s or 0.0) + (lost_s or 0.0) if known else None,
        )
