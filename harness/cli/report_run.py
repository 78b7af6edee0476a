"""What `dyno report` was asked for: which run or experiment is meant, and in what form it is shown."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from harness.cli.cache_run import document_of
from harness.cli.dispatch_report import print_dispatches
from harness.cli.page_run import write_experiment, write_run
from harness.experiment.document import document_of as experiment_document
from harness.experiment.plan import PlanError
from harness.experiment.pricing import told_of
from harness.experiment.store import find_experiment, read_experiment
from profiler.dispatch_store import holds_dispatches
from profiler.report.ab import print_ab
from profiler.report.cache import print_document
from profiler.run_names import UnknownRun, find_run

__all__ = ["Stored", "print_stored", "stored_of", "write_stored"]


class Stored(NamedTuple):
    """The folder of what was named; `experiment`: it is one, and no run."""

    path: Path
    experiment: bool


def stored_of(runs: Path, name: str) -> Stored:
    """The run or the experiment that `name` means; of both latest ones the later, by their ids.

    Raises:
        UnknownRun: neither is meant.
    """
    found: list[Stored] = []
    unknown: UnknownRun | None = None
    try:
        found.append(Stored(find_run(runs, name), experiment=False))
    except UnknownRun as error:
        unknown = error
    with contextlib.suppress(PlanError):
        found.append(Stored(find_experiment(runs, name), experiment=True))
    if not found and unknown is not None:
        raise unknown
    return max(found, key=lambda one: one.path.name)


def print_stored(stored: Stored, *, json_output: bool) -> None:
    """The report in the terminal, or the document. Raises StoreError."""
    path = stored.path
    if stored.experiment:
        experiment = read_experiment(path)
        print_ab(experiment_document(experiment, told_of(experiment)), json_output=json_output)
    elif holds_dispatches(path):
        print_dispatches(path, json_output=json_output)
    else:
        print_document(document_of(path), path, json_output=json_output)


def write_stored(stored: Stored, page: Path | None, pictures: Path | None) -> None:
    """The page, the pictures, or both. Raises StoreError, MissingExtra."""
    write = write_experiment if stored.experiment else write_run
    write(stored.path, page, pictures)
