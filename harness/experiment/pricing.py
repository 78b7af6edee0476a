"""What each dispatch lost to each cause, in seconds by one price for the experiment, and what each arm's cache did.

A dispatch of a few requests tells no price of a token, and two dispatches with a price of their own could not be
compared. All requests of one target therefore tell one price, and each dispatch's lost tokens are priced by it, times
the dispatch's own pace: on a busy machine all of its prefill is slower, what was lost and what was new alike, and
without it the slowness would pass for new text. Tokens need no price. Measures nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from harness.experiment.running import is_outcome
from harness.experiment.store import StoredExperiment
from profiler.ab_document import CacheRow
from profiler.causes import causes_of
from profiler.causes.cases import cases_of_run
from profiler.findings import findings_of
from profiler.pricing import PrefillModel, fit_prefill, samples_of
from profiler.records import RequestRecord
from profiler.store import StoredRun, read_load_log, read_run

__all__ = ["Lost", "Told", "told_of"]

Lost = dict[tuple[str, str], dict[str, float]]
"""Seconds by cause of each dispatch, by the name of its load and its own id."""


class Told(NamedTuple):
    """What the requests of an experiment tell: what was lost, and of each arm by its name what its cache did."""

    lost: Lost
    caches: dict[str, CacheRow]


def told_of(stored: StoredExperiment) -> Told:
    """Of every dispatch of which it can be told.

    Raises:
        StoreError: a run cannot be read.
    """
    runs = {name: read_run(stored.path / name) for name in stored.loads}
    models = {target: _model(target, runs) for target in {run.info.target for run in runs.values()}}
    arms = {
        (one.load, one.ended.dispatch_id): one.begun.arm
        for one in stored.done
        if not one.begun.warm_up and is_outcome(one.ended)
    }
    lost: Lost = {}
    tokens: dict[str, Counter[str]] = {}
    for name, run in runs.items():
        if run.requests:
            _add_run(stored, name, run, models[run.info.target], arms, lost, tokens)
    every = {
        arm: [
            record
            for name, run in runs.items()
            for record in run.requests
            if arms.get((name, record.session)) == arm and record.error is None and record.engine is None
        ]
        for arm in set(arms.values())
    }
    caches = {arm: cache_row(records, tokens.get(arm, Counter())) for arm, records in every.items() if records}
    return Told(lost, caches)


def cache_row(records: Iterable[RequestRecord], lost: Counter[str]) -> CacheRow:
    """The sums over requests; `lost` are tokens by cause."""
    seen = list(records)
    classes = Counter(record.verdict.cache_class for record in seen)
    return CacheRow(
        requests=len(seen),
        hits=classes["hit"],
        partial=classes["partial"],
        full_misses=classes["full_miss"],
        firsts=classes["cold"] + classes["branch"],
        unknown=classes["unknown"],
        prompt_tokens=_sum(record.evidence.prompt_tokens for record in seen),
        evaluated_tokens=_sum(record.evidence.evaluated_tokens for record in seen),
        lost_tokens=_sum(record.verdict.lost_tokens for record in seen),
        lost_by_cause_tokens=dict(lost.most_common()),
    )


def _model(target: str, runs: dict[str, StoredRun]) -> PrefillModel | None:
    requests: list[RequestRecord] = []
    for run in runs.values():
        requests += run.requests if run.info.target == target else ()
    return fit_prefill(*samples_of(requests))


def _add_run(
    stored: StoredExperiment,
    name: str,
    run: StoredRun,
    model: PrefillModel | None,
    arms: dict[tuple[str, str], str],
    lost: Lost,
    tokens: dict[str, Counter[str]],
) -> None:
    path = stored.path / name
    paces: dict[str, float] = {}
    if model is not None:
        lost |= {(name, record.session): {} for record in run.requests}
        for session in {record.session for record in run.requests}:
            paces[session] = model.pace(record for record in run.requests if record.session == session)
    # One after the other: a case holds its prompts, and is let go once it is priced.
    for case in cases_of_run(path, run.requests, run.info.facts, read_load_log(path), run.anchors):
        session = case.step.record.session
        arm = arms.get((name, session))
        for total in findings_of(((case.step.record, causes_of(case)),), model).totals:
            if arm is not None:
                tokens.setdefault(arm, Counter())[total.code] += total.tokens
            if total.price is not None:
                causes = lost[name, session]
                causes[total.code] = causes.get(total.code, 0.0) + total.price.s * paces[session]


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
