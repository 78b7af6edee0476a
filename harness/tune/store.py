"""What a tuning leaves on disk, so that it can be read in any state, and resumed.

    runs/<id>/tune.json          Started: the plan, all of it resolved
    runs/<id>/02-simulate/ …     one experiment for each stage, with all its files (`harness.experiment.store`)
    runs/<id>/tuned.json         the document of what there is; written anew when it is shown again

The experiments are the truth, and are only appended to: what a stage was follows from the plan and the stages before
it, so that nothing else has to be written for a tuning to go on where it was killed.

Raises only `StoreError`, and `PlanError` for a name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from harness.plan_folder import PlanFolder
from harness.tune.plan import SCHEMA, TunePlan
from profiler.run_files import encode, renamed, write_whole

__all__ = ["DOCUMENT", "Started", "create", "find_tuning", "read_started", "write_document"]

DOCUMENT: Final = "tuned.json"
_FOLDER: Final = PlanFolder("tune.json", "tuning", "dyno tune")


class Started(msgspec.Struct, frozen=True):
    """The plan with the id and the time of its beginning."""

    tuning_id: str
    started_unix_ns: int
    plan: TunePlan
    schema: int = SCHEMA


def create(runs: Path, started: Started) -> Path:
    """Make the folder of a new tuning. Raises StoreError."""
    return _FOLDER.create(runs / started.tuning_id, encode(started))


def write_document(path: Path, document: msgspec.Struct) -> None:
    """Write what was found, in place of what was before. Raises StoreError."""
    with renamed(f"cannot write {path / DOCUMENT}"):
        write_whole(path / DOCUMENT, encode(document))


def find_tuning(runs: Path, name: str) -> Path:
    """The folder of the tuning that `name` means: its id, a prefix that only it has, its path, or `latest`.

    Raises:
        PlanError: none or several are meant.
    """
    return _FOLDER.find(runs, name)


def read_started(path: Path) -> Started:
    """The plan of a tuning. Raises StoreError."""
    return _FOLDER.read(path, Started)
