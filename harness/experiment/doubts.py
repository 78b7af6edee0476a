"""Why times of an experiment are doubtful: what else the machine did during a dispatch, and what its anchors say. Pure.

An anchor that is faster than all before makes those before it doubtful; a slower one the dispatch that it was measured
for. Notes, which are no doubts, are left out.
"""

from __future__ import annotations

from harness.experiment.store import CellDoubt, Done, StoredExperiment
from profiler.ab_document import DoubtRow
from profiler.guards import Doubt, weighed
from profiler.records import Guard

__all__ = ["doubt_rows", "doubts_of"]


def doubts_of(stored: StoredExperiment, done: Done) -> tuple[Doubt, ...]:
    """The doubts about one dispatch."""
    started_ns = done.dispatch.started.started_ns
    beside = weighed(done.guards, (started_ns, started_ns + done.ended.totals.wall_ns))
    target = stored.loads[done.load].target if done.load in stored.loads else None
    later = (
        doubt
        for load, doubt in stored.faster
        if stored.loads[load].target == target and (load, doubt.number) > (done.load, done.begun.number)
    )
    return (
        *(doubt for doubt in beside if doubt.guard.severity == "doubtful"),
        *(_of_anchor(doubt) for doubt in (*done.doubts, *later)),
    )


def doubt_rows(stored: StoredExperiment) -> tuple[DoubtRow, ...]:
    """One row for each code, that of most dispatches first."""
    found: dict[str, list[Doubt]] = {}
    for done in stored.done:
        if done.begun.warm_up:
            continue
        worst: dict[str, Doubt] = {}
        for doubt in doubts_of(stored, done):
            worst[doubt.guard.code] = _worse(worst.get(doubt.guard.code), doubt)
        for code, doubt in worst.items():
            found.setdefault(code, []).append(doubt)
    rows = [DoubtRow(code, len(all_of), max(all_of, key=_by).guard.text) for code, all_of in found.items()]
    return tuple(sorted(rows, key=lambda row: -row.dispatches))


def _worse(one: Doubt | None, other: Doubt) -> Doubt:
    return other if one is None else max(one, other, key=_by)


def _by(doubt: Doubt) -> float:
    return abs(doubt.by)


def _of_anchor(doubt: CellDoubt) -> Doubt:
    return Doubt(Guard("drift", "doubtful", doubt.text), doubt.change or 0.0)
