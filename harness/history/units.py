"""Stored runs as observations: one for each replay of a session, or for each dispatch of a task. Pure.

The block of an observation is the how-manyth of its session or task it is on its side, in order of time: the first of
one side is paired with the first of the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from harness.experiment.observations import METRICS as OF_DISPATCHES
from harness.experiment.observations import STOPPED, measures_of, success_of
from harness.experiment.running import is_fault, is_outcome
from harness.history.stored import StoredWork
from harness.stats import Metric, Observation
from profiler import guards
from profiler.dispatch_records import DispatchRecord
from profiler.dispatch_store import StoredDispatch
from profiler.dispatch_totals import totals_of
from profiler.records import GuardSample, RequestRecord

__all__ = ["METRICS", "Side", "Unit", "doubtful_requests", "side_of", "unit_kind"]

Unit = Literal["session", "task"]

METRICS: Final = {
    **OF_DISPATCHES,
    "prefill_tokens_per_s": Metric("prefill_tokens_per_s", "ratio", "higher"),
    "lost_s": Metric("lost_s", "difference", "lower"),
}
"""What is compared, by name; the measures of a session lack what only a dispatch has."""


class Side(NamedTuple):
    """The observations of one side, and the hash of what each session or task holds, where the runs say it."""

    observations: tuple[Observation, ...]
    contents: dict[str, str]


class _Seen(NamedTuple):
    unit: str
    content: str | None
    observation: Observation


def unit_kind(works: Iterable[StoredWork]) -> Unit:
    """Tasks, if any of the runs holds a dispatch; else sessions."""
    return "task" if any(work.dispatches for work in works) else "session"


def side_of(arm: str, works: Sequence[StoredWork], unit: Unit) -> Side:
    """The observations of runs, in order of time; warm-ups and what the user interrupted are none."""
    in_order = sorted(works, key=lambda work: work.run.info.started_unix_ns)
    found: list[Observation] = []
    contents: dict[str, str] = {}
    blocks: Counter[str] = Counter()
    for work in in_order:
        for seen in _dispatches(arm, work) if unit == "task" else _sessions(arm, work):
            if seen.content is not None:
                contents.setdefault(seen.unit, seen.content)
            found.append(
                msgspec.structs.replace(
                    seen.observation, task=seen.unit, block=blocks[seen.unit], order=len(found)
                )
            )
            # A fault has no outcome: the next one takes its place.
            blocks[seen.unit] += not seen.observation.excluded
    return Side(tuple(found), contents)


def doubtful_requests(work: StoredWork) -> int:
    """Requests during which the machine was busy with something else."""
    return sum(_is_doubtful(work.run.guards, record) for record in work.run.requests)


def _is_doubtful(samples: Sequence[GuardSample], record: RequestRecord) -> bool:
    stamps = record.stamps
    window = (stamps.sent_ns, stamps.done_ns or stamps.last_delta_ns or stamps.sent_ns)
    return any(guard.severity == "doubtful" for guard in guards.judge(samples, window))


def _sessions(arm: str, work: StoredWork) -> Iterator[_Seen]:
    noted: dict[str, Any] = work.run.info.settings.get("sessions", {})
    groups: dict[tuple[str, int], list[RequestRecord]] = {}
    for record in work.run.requests:
        groups.setdefault((record.session, record.repeat), []).append(record)
    for (session, _), requests in groups.items():
        said = noted.get(session) if isinstance(noted, dict) else None
        ends = [record.stamps.done_ns or record.stamps.last_delta_ns or record.stamps.sent_ns for record in requests]
        start_ns, end_ns = requests[0].stamps.sent_ns, max(ends)
        totals = totals_of(
            requests, (), wall_ns=end_ns - start_ns, peak_memory_bytes=_peak_bytes(work, start_ns, end_ns)
        )
        measures = {**measures_of(totals), "turns": None, "calls": None, "tool_s": None, "session_bytes": None}
        faulty = any(record.error is not None for record in requests)
        observation = _observation(
            arm, session, time_s=None, measures={**measures, **_more(totals.evaluated_tokens, totals)}, excluded=faulty
        )
        yield _Seen(session, said.get("sha256") if isinstance(said, dict) else None, observation)


def _dispatches(arm: str, work: StoredWork) -> Iterator[_Seen]:
    for one in work.dispatches:
        if one.ended is None or not (is_outcome(one.ended) or is_fault(one.ended)) or _is_warm_up(work, one):
            continue
        started, totals = one.started, one.ended.totals
        name = started.task if not started.seed else f"{started.task} seed {started.seed}"
        simulated = started.fidelity == "simulate"
        limit = started.levers.get("limits.wall_s")
        observation = Observation(
            arm=arm,
            task=name,
            block=0,
            order=0,
            success=success_of(one.ended),
            score=one.ended.outcome.score,
            time_s=None if simulated else totals.wall_ns / 1e9,
            limit_s=float(limit) if isinstance(limit, int | float) else None,
            censored=one.ended.exit_status in STOPPED,
            measures={**measures_of(totals), **_more(totals.evaluated_tokens, totals)},
            excluded=is_fault(one.ended),
        )
        yield _Seen(name, started.task_sha256, observation)


def _is_warm_up(work: StoredWork, one: StoredDispatch) -> bool:
    number = one.started.dispatch_id.partition("-")[0]
    cell = work.cells.get(int(number)) if number.isdecimal() else None
    return cell is not None and cell.warm_up
