"""What each dispatch lost to each cause, in seconds by one price for the experiment. Measures nothing.

A dispatch of a few requests tells no price of a token, and two dispatches with a price of their own could not be
compared. All requests of one target therefore tell one price, and each dispatch's lost tokens are priced by it.
"""

from __future__ import annotations

from harness.experiment.store import StoredExperiment
from profiler.causes import causes_of
from profiler.causes.cases import cases_of_run
from profiler.findings import findings_of
from profiler.pricing import PrefillModel, fit_prefill, samples_of
from profiler.records import RequestRecord
from profiler.store import StoredRun, read_load_log, read_run

__all__ = ["Lost", "lost_seconds"]

Lost = dict[tuple[str, str], dict[str, float]]
"""Seconds by cause of each dispatch, by the name of its load and its own id."""


def lost_seconds(stored: StoredExperiment) -> Lost:
    """Of every dispatch of which it can be told.

    Raises:
        StoreError: a run cannot be read.
    """
    runs = {name: read_run(stored.path / name) for name in stored.loads}
    models = {target: _model(target, runs) for target in {run.info.target for run in runs.values()}}
    lost: Lost = {}
    for name, run in runs.items():
        model = models[run.info.target]
        if model is not None and run.requests:
            lost |= {(name, session): found for session, found in _of_run(stored, name, run, model).items()}
    return lost


def _model(target: str, runs: dict[str, StoredRun]) -> PrefillModel | None:
    requests: list[RequestRecord] = []
    for run in runs.values():
        requests += run.requests if run.info.target == target else ()
    return fit_prefill(*samples_of(requests))


def _of_run(stored: StoredExperiment, name: str, run: StoredRun, model: PrefillModel) -> dict[str, dict[str, float]]:
    path = stored.path / name
    found: dict[str, dict[str, float]] = {record.session: {} for record in run.requests}
    # One after the other: a case holds its prompts, and is let go once it is priced.
    for case in cases_of_run(path, run.requests, run.info.facts, read_load_log(path), run.anchors):
        causes = found[case.step.record.session]
        for total in findings_of(((case.step.record, causes_of(case)),), model).totals:
            if total.price is not None:
                causes[total.code] = causes.get(total.code, 0.0) + total.price.s
    return found
