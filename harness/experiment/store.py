"""What an experiment leaves on disk, so that it can be read in any state, and resumed.

    runs/<id>/experiment.json   Experiment: the plan, all of it resolved
    runs/<id>/decisions.json    Decision of each arm that was decided early, where the plan declared that
    runs/<id>/working.json      while a process is at work on it (`harness.experiment.at_work`)
    runs/<id>/001/ …            one run for each load of an engine, with all the files of a run (`profiler.store`), and
        cells.jsonl             CellBegun: which dispatch of the plan is about to be done here, written before it
        doubts.jsonl            CellDoubt: what the anchor said beside it

A dispatch of the plan is done where it was begun and its record is in `dispatches.jsonl`: nothing has to be written
after it, so a kill in between neither loses nor repeats it. Loads are never pooled into one run: what an engine has
cached ends with it.

Raises only `StoreError`, and `PlanError` for a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from harness.experiment.at_work import is_at_work
from harness.experiment.plan import SCHEMA, Plan
from harness.plan_folder import PlanFolder, loads_of
from profiler.dispatch_records import DispatchRecord
from profiler.dispatch_store import StoredDispatch, read_dispatches
from profiler.record_lines import new_lines, read_lines
from profiler.records import AnchorSample, GuardSample, RunInfo
from profiler.run_files import StoreError, encode, renamed, write_whole
from profiler.store import StoredRun, read_run

__all__ = [
    "CellBegun",
    "CellDoubt",
    "CellWriter",
    "Decision",
    "Done",
    "Experiment",
    "StoredExperiment",
    "create",
    "find_experiment",
    "read_experiment",
    "write_decisions",
]

FILE: Final = "experiment.json"
_FOLDER: Final = PlanFolder(FILE, "experiment", "dyno ab")
DECISIONS = "decisions.json"


class Experiment(msgspec.Struct, frozen=True):
    """The plan with the id and the time of its beginning."""

    experiment_id: str
    command: Literal["ab", "aa"]
    started_unix_ns: int
    plan: Plan
    schema: int = SCHEMA


class CellBegun(msgspec.Struct, frozen=True):
    """A dispatch that is about to begin, the `number`th of its run. `attempt` counts from 1.

    A `warm_up` is of no block and counts for nothing.
    """

    number: int
    order: int
    block: int
    arm: str
    task: str
    attempt: int
    fresh: bool
    warm_up: bool = False
    schema: int = SCHEMA


class CellDoubt(msgspec.Struct, frozen=True):
    """A machine that had drifted before the dispatch of that number, and still had after so many pauses.

    `change` is by how much, as a share. `faster` than ever before: that makes those before it doubtful, not it, and
    `anchor` is what later ones are compared with.
    """

    number: int
    text: str
    pauses: int
    change: float | None = None
    anchor: AnchorSample | None = None
    faster: bool = False
    schema: int = SCHEMA


class Decision(msgspec.Struct, frozen=True):
    """That a treatment was decided against the baseline before the plan's end, with so many pairs, and is run no more.

    `order` is the place of the dispatch after which, `e_value` had then reached 1/`alpha`; `better` than the baseline,
    or worse.
    """

    treatment: str
    order: int
    pairs: int
    won: int
    lost: int
    e_value: float
    alpha: float
    better: bool
    schema: int = SCHEMA


class Done(msgspec.Struct, frozen=True):
    """A dispatch of the plan that has ended, whatever came of it, and the load that it was done on.

    `guards` are the samples of that run, and `load` the name of its folder.
    """

    begun: CellBegun
    dispatch: StoredDispatch
    ended: DispatchRecord
    load: str
    guards: tuple[GuardSample, ...] = ()
    doubts: tuple[CellDoubt, ...] = ()


class StoredExperiment(msgspec.Struct, frozen=True):
    """An experiment as its files hold it. `begun` are all attempts, `done` those that have ended, in order of time.

    `loads` are the infos of its engines by the name of their folders; `anchors` all of theirs. `faster` are the moments
    at which the machine was found faster than before, each with the name of its load. `working`: a process is at it.
    """

    path: Path
    experiment: Experiment
    begun: tuple[CellBegun, ...]
    done: tuple[Done, ...]
    loads: dict[str, RunInfo]
    anchors: dict[str, tuple[AnchorSample, ...]] = {}
    notes: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    faster: tuple[tuple[str, CellDoubt], ...] = ()
    working: bool = False


class CellWriter:
    """Writes the dispatches of the plan that are begun in one run."""

    def __init__(self, run: Path) -> None:
        """Make the files in the folder of a run that has none. Raises StoreError."""
        self._run = run
        with renamed(f"cannot create the cells of {run}"):
            self._cells = new_lines(run / "cells.jsonl", CellBegun)
            self._doubts = new_lines(run / "doubts.jsonl", CellDoubt)

    def begun(self, cell: CellBegun) -> None:
        """Append a dispatch, before it begins. Raises StoreError."""
        with renamed(f"cannot write {self._run / 'cells.jsonl'}"):
            self._cells.append(encode(cell) + b"\n")

    def doubt(self, doubt: CellDoubt) -> None:
        """Append a doubt. Raises StoreError."""
        with renamed(f"cannot write {self._run / 'doubts.jsonl'}"):
            self._doubts.append(encode(doubt) + b"\n")

    def close(self) -> None:
        """Close the files."""
        self._cells.close()
        self._doubts.close()


def create(runs: Path, experiment: Experiment) -> Path:
    """Make the folder of a new experiment. Raises StoreError."""
    return _FOLDER.create(runs / experiment.experiment_id, encode(experiment))


def write_decisions(path: Path, decisions: Sequence[Decision]) -> None:
    """Write all that was decided early, in place of what was before. Raises StoreError."""
    with renamed(f"cannot write {path / DECISIONS}"):
        write_whole(path / DECISIONS, encode(_Decisions(tuple(decisions))))


def find_experiment(runs: Path, name: str) -> Path:
    """The folder of the experiment that `name` means: its id, a prefix that only it has, its path, or `latest`.

    Raises:
        PlanError: none or several are meant.
    """
    return _FOLDER.find(runs, name)


def read_experiment(path: Path) -> StoredExperiment:
    """Read an experiment's folder, finished or not.

    Raises:
        StoreError: there is none, or its plan cannot be read.
    """
    experiment = _FOLDER.read(path, Experiment)
    begun: list[CellBegun] = []
    done: list[Done] = []
    notes: list[str] = []
    loads: dict[str, RunInfo] = {}
    anchors: dict[str, tuple[AnchorSample, ...]] = {}
    faster: list[tuple[str, CellDoubt]] = []
    for folder in loads_of(path):
        if not (folder / "run.json").is_file():
            continue  # killed before its engine was ready
        run = read_run(folder)
        loads[folder.name], anchors[folder.name] = run.info, run.anchors
        here, ended, doubts, said = _load(folder, run)
        faster += [(folder.name, doubt) for doubt in doubts if doubt.faster]
        begun += here
        done += ended
        notes += [f"{folder.name}: {note}" for note in said]
    return StoredExperiment(
        path=path,
        experiment=experiment,
        begun=tuple(begun),
        done=tuple(done),
        loads=loads,
        anchors=anchors,
        notes=tuple(notes),
        decisions=_read_decisions(path / DECISIONS),
        faster=tuple(faster),
        working=is_at_work(path),
    )


def _load(folder: Path, run: StoredRun) -> tuple[list[CellBegun], list[Done], list[CellDoubt], list[str]]:
    if not (folder / "cells.jsonl").is_file():
        return [], [], [], list(run.notes)
    with renamed(f"cannot read the cells of {folder}"):
        begun, notes = read_lines(folder / "cells.jsonl", CellBegun)
        doubts, _ = read_lines(folder / "doubts.jsonl", CellDoubt)
    dispatches, dispatch_notes = read_dispatches(folder)
    by_number = {int(one.started.dispatch_id.partition("-")[0]): one for one in dispatches}
    done: list[Done] = []
    for cell in begun:
        dispatch = by_number.get(cell.number)
        if dispatch is not None and dispatch.ended is not None:
            mine = tuple(doubt for doubt in doubts if doubt.number == cell.number and not doubt.faster)
            done.append(Done(cell, dispatch, dispatch.ended, folder.name, run.guards, mine))
    return list(begun), done, list(doubts), [*run.notes, *notes, *dispatch_notes]


def _read_decisions(file: Path) -> tuple[Decision, ...]:
    if not file.is_file():
        return ()
    with renamed(f"cannot read {file}"):
        data = file.read_bytes()
    try:
        return msgspec.json.decode(data, type=_Decisions).decisions
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = "remove it: what was decided follows from the dispatches"
        raise StoreError(f"cannot read {file}: {error}", hint=hint) from error


class _Decisions(msgspec.Struct, frozen=True):
    decisions: tuple[Decision, ...]
    schema: int = SCHEMA
