"""One run with all that its files hold, and where it stands among the others. Reads; judges nothing.

Runs are the folders with a `run.json` below the folder of runs, and below those of plans there (`dyno ab`,
`dyno quant`), whose loads are runs of their own. A run's name is its place: `20261120-124501-k3f9`, or that of its plan
and its own, `20261120-130000-abcd/001`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.experiment.store import FILE, CellBegun
from profiler.dispatch_store import StoredDispatch, read_dispatches
from profiler.record_lines import read_lines
from profiler.run_files import renamed
from profiler.store import StoredRun, read_run

__all__ = ["KEPT", "SOURCES", "StoredWork", "name_of", "read_work", "run_folders", "source_sizes"]

SOURCES = (
    "run.json", "closed.json", "requests.jsonl", "started.jsonl", "turns.jsonl", "dispatches.jsonl", "cells.jsonl",
    "residency.jsonl", "guards.jsonl", "anchors.jsonl",
)  # fmt: skip
"""The files of a run that the tables are made of."""

_PLANS = (FILE, "plan.json")
"""What a folder holds whose runs are loads of one plan: of `dyno ab`, and of `dyno quant` (`harness.quant.store`)."""

KEPT = "tables"
"""The folder of a run in which its tables are kept."""


class StoredWork(msgspec.Struct, frozen=True):
    """A run, its dispatches and their places in an experiment; `notes` says what of its files was lost."""

    path: Path
    run: StoredRun
    dispatches: tuple[StoredDispatch, ...]
    cells: dict[int, CellBegun]
    experiment: str | None
    cache_state: str | None
    notes: tuple[str, ...]


def run_folders(root: Path) -> Iterator[Path]:
    """The folders of all runs below `root`, by name. Raises StoreError."""
    with renamed(f"cannot list the runs in {root}"):
        for folder in _folders(root):
            if (folder / "run.json").is_file():
                yield folder
            if _holds_loads(folder):
                yield from (load for load in _folders(folder) if (load / "run.json").is_file())


def name_of(folder: Path) -> str:
    """The name of a run. What of it is no Unicode is shown as `?`."""
    parent = folder.parent
    return _shown(f"{parent.name}/{folder.name}" if _holds_loads(parent) else folder.name)


def source_sizes(folder: Path) -> dict[str, int]:
    """The sizes of those files of a run that its tables are made of, bytes. Raises StoreError."""
    with renamed(f"cannot read the run {folder}"):
        return {name: (folder / name).stat().st_size for name in SOURCES if (folder / name).is_file()}


def read_work(folder: Path) -> StoredWork:
    """Read a run with its dispatches.

    Raises:
        StoreError: no run there, or a newer dyno wrote it.
    """
    run = read_run(folder)
    dispatches, notes = read_dispatches(folder)
    with renamed(f"cannot read the run {folder}"):
        cells_file, plan_file = folder / "cells.jsonl", folder.parent / FILE
        cells, cell_notes = read_lines(cells_file, CellBegun) if cells_file.is_file() else ((), ())
        held = plan_file.read_bytes() if plan_file.is_file() else None
    return StoredWork(
        path=folder,
        run=run,
        dispatches=dispatches,
        cells={cell.number: cell for cell in cells},
        experiment=_shown(folder.parent.name) if held is not None else None,
        cache_state=_cache_state(held),
        notes=(*run.notes, *notes, *cell_notes),
    )


def _holds_loads(folder: Path) -> bool:
    return any((folder / plan).is_file() for plan in _PLANS)


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _folders(root: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(root) if entry.is_dir()) if root.is_dir() else []


def _cache_state(plan: bytes | None) -> str | None:
    if plan is None:
        return None
    try:
        return msgspec.json.decode(plan, type=_Experiment).plan.cache
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class _Plan(msgspec.Struct, frozen=True):
    cache: str | None = None


class _Experiment(msgspec.Struct, frozen=True):
    plan: _Plan
