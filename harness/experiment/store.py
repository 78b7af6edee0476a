"""What an experiment leaves on disk, so that it can be read in any state, and resumed.

    runs/<id>/experiment.json   Experiment: the plan, all of it resolved
    runs/<id>/decisions.json    Decision of each arm that was decided early, where the plan declared that
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
from typing import Literal

import msgspec

from harness.experiment.plan import SCHEMA, Plan, PlanError
from profiler.dispatch_records import DispatchRecord
from profiler.dispatch_store import StoredDispatch, read_dispatches
from profiler.record_lines import new_lines, read_lines
from profiler.records import AnchorSample, GuardSample, RunInfo
from profiler.run_files import StoreError, check_schema, encode, renamed, write_whole
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
    "next_load",
    "read_experiment",
    "write_decisions",
]

FILE = "experiment.json"
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
    """A machine that had drifted before the dispatch of that number, and still had after so many pauses."""

    number: int
    text: str
    pauses: int
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

    `loads` are the infos of its engines by the name of their folders; `anchors` all of theirs.
    """

    path: Path
    experiment: Experiment
    begun: tuple[CellBegun, ...]
    done: tuple[Done, ...]
    loads: dict[str, RunInfo]
    anchors: dict[str, tuple[AnchorSample, ...]] = {}
    notes: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()


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
    path = runs / experiment.experiment_id
    with renamed(f"cannot create the experiment {path}"):
        path.mkdir(parents=True)
        write_whole(path / FILE, encode(experiment))
    return path


def write_decisions(path: Path, decisions: Sequence[Decision]) -> None:
    """Write all that was decided early, in place of what was before. Raises StoreError."""
    with renamed(f"cannot write {path / DECISIONS}"):
        write_whole(path / DECISIONS, encode(_Decisions(tuple(decisions))))


def next_load(path: Path) -> str:
    """The name of the next run in an experiment's folder: `001`, and on."""
    return f"{max((int(load.name) for load in _loads(path)), default=0) + 1:03d}"


def find_experiment(runs: Path, name: str) -> Path:
    """The folder of the experiment that `name` means: its id, a prefix that only it has, its path, or `latest`.

    Raises:
        PlanError: none or several are meant.
    """
    found = sorted(file.parent for file in runs.glob(f"*/{FILE}"))
    if name == "latest" and found:
        return found[-1]
    if name and (Path(name) / FILE).is_file():
        return Path(name)
    begun = [path for path in found if name and path.name.startswith(name)]
    exact = [path for path in begun if path.name == name] or begun
    if len(exact) == 1:
        return exact[0]
    shown = ", ".join(path.name for path in (begun or found)[-4:])
    what = f"{len(begun)} experiments begin with {name!r}" if begun else f"no experiment {name!r} in {runs}"
    raise PlanError(what, hint=f"most recent: {shown}" if shown else "dyno ab makes one")


def read_experiment(path: Path) -> StoredExperiment:
    """Read an experiment's folder, finished or not.

    Raises:
        StoreError: there is none, or its plan cannot be read.
    """
    experiment = _read_plan(path / FILE)
    begun: list[CellBegun] = []
    done: list[Done] = []
    notes: list[str] = []
    loads: dict[str, RunInfo] = {}
    anchors: dict[str, tuple[AnchorSample, ...]] = {}
    for folder in _loads(path):
        if not (folder / "run.json").is_file():
            continue  # killed before its engine was ready
        run = read_run(folder)
        loads[folder.name], anchors[folder.name] = run.info, run.anchors
        here, ended, said = _load(folder, run)
        begun += here
        done += ended
        notes += [f"{folder.name}: {note}" for note in said]
    decisions = _read_decisions(path / DECISIONS)
    return StoredExperiment(path, experiment, tuple(begun), tuple(done), loads, anchors, tuple(notes), decisions)


def _load(folder: Path, run: StoredRun) -> tuple[list[CellBegun], list[Done], list[str]]:
    if not (folder / "cells.jsonl").is_file():
        return [], [], list(run.notes)
    with renamed(f"cannot read the cells of {folder}"):
        begun, notes = read_lines(folder / "cells.jsonl", CellBegun)
        doubts, _ = read_lines(folder / "doubts.jsonl", CellDoubt)
    dispatches, dispatch_notes = read_dispatches(folder)
    by_number = {int(one.started.dispatch_id.partition("-")[0]): one for one in dispatches}
    done: list[Done] = []
    for cell in begun:
        dispatch = by_number.get(cell.number)
        if dispatch is not None and dispatch.ended is not None:
            mine = tuple(doubt for doubt in doubts if doubt.number == cell.number)
            done.append(Done(cell, dispatch, dispatch.ended, folder.name, run.guards, mine))
    return list(begun), done, [*run.notes, *notes, *dispatch_notes]


def _loads(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and folder.name.isdecimal())


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


def _read_plan(file: Path) -> Experiment:
    if not file.is_file():
        raise StoreError(f"no experiment in {file.parent}: it holds no {FILE}", hint="name a folder under runs/")
    with renamed(f"cannot read {file}"):
        data = file.read_bytes()
    try:
        check_schema(msgspec.json.decode(data, type=_Schema).schema, file)
        return msgspec.json.decode(data, type=Experiment)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read {file}: {error}", hint="the experiment cannot be used without it") from error


class _Decisions(msgspec.Struct, frozen=True):
    decisions: tuple[Decision, ...]
    schema: int = SCHEMA


class _Schema(msgspec.Struct, frozen=True):
    schema: int = SCHEMA
