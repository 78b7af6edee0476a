"""Stored runs as observations: one for each replay of a session, or for each dispatch of a task. Pure.

The block of an observation is the how-manyth of its session or task it is on its side, in order of time: the first of
one side is paired with the first of the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from harness.experiment.observations import METRICS as OF_DISPATCHES
from harness.experiment.observations import SIMULATED, STOPPED, measures_of, success_of
from harness.experiment.running import is_fault, is_outcome
from harness.history.stored import StoredWork
from harness.stats import Metric, Observation
from profiler import guards
from profiler.dispatch_records import Totals
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
"""What is compared, by name."""

_OF_AGENTS: Final = ("turns", "calls", "tool_s", "session_bytes")
"""What a replayed session has none of: unknown, and not 0."""


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
                msgspec.structs.replace(seen.observation, task=seen.unit, block=blocks[seen.unit], order=len(found))
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
    noted = _digests(work.run.info.settings.get("sessions"))
    groups: dict[tuple[str, int], list[RequestRecord]] = {}
    for record in work.run.requests:
        groups.setdefault((record.session, record.repeat), []).append(record)
    for (session, _), requests in groups.items():
        ends = [record.stamps.done_ns or record.stamps.last_delta_ns or record.stamps.sent_ns for record in requests]
        start_ns, end_ns = requests[0].stamps.sent_ns, max(ends)
        totals = totals_of(
            requests, (), wall_ns=end_ns - start_ns, peak_memory_bytes=_peak_bytes(work, start_ns, end_ns)
        )
        observation = Observation(
            arm=arm,
            task=session,
            block=0,
            order=0,
            measures={**_measures(totals), **dict.fromkeys(_OF_AGENTS)},
            excluded=any(record.error is not None for record in requests),
        )
        yield _Seen(session, noted.get(session), observation)


def _digests(sessions: object) -> dict[str, str]:
    """The hashes of sessions by name, as the settings of a run hold them; none where they hold something else."""
    try:
        noted = msgspec.convert(sessions, dict[str, _Digest])
    except msgspec.ValidationError:
        return {}
    return {name: one.sha256 for name, one in noted.items() if one.sha256 is not None}


class _Digest(msgspec.Struct, frozen=True):
    sha256: str | None = None


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
            measures={name: value for name, value in _measures(totals).items() if not simulated or name in SIMULATED},
            excluded=is_fault(one.ended),
        )
        yield _Seen(name, started.task_sha256, observation)


def _measures(totals: Totals) -> dict[str, float | None]:
    tokens, prefill_ns, lost_ns = totals.evaluated_tokens, totals.prefill_ns, totals.lost_ns
    return {
        **measures_of(totals),
        "prefill_tokens_per_s": tokens / (prefill_ns / 1e9) if tokens and prefill_ns else None,
        "lost_s": None if lost_ns is None else lost_ns / 1e9,
    }


def _peak_bytes(work: StoredWork, start_ns: int, end_ns: int) -> int | None:
    samples = (s for s in work.run.residency if start_ns <= s.at_ns <= end_ns and s.processes)
    return max((s.must_have_bytes for s in samples if s.must_have_bytes is not None), default=None)


def _is_warm_up(work: StoredWork, one: StoredDispatch) -> bool:
    number = one.started.dispatch_id.partition("-")[0]
    cell = work.cells.get(int(number)) if number.isdecimal() else None
    return cell is not None and cell.warm_up
