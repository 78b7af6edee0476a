"""Stored dispatches as files for other programs. The work behind `dyno export`."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.tasks.base import TaskError
from harness.tasks.levels.export import LevelResult, export_levels, folder_name
from profiler.dispatch_store import StoredDispatch, dispatch_folder, read_dispatches
from profiler.run_files import renamed
from profiler.store import read_run

__all__ = ["export_atif", "export_level_replies"]

PACK = "levels"


def export_level_replies(paths: Iterable[Path], output: Path) -> None:
    """Write the last reply of every model to every level: `output/<model>/<level>/`.

    Raises:
        TaskError: no dispatch of these runs is one of the pack `levels`.
        StoreError: a run cannot be read, or a file cannot be written.
    """
    by_model: dict[str, dict[str, LevelResult]] = defaultdict(dict)
    for model, dispatch in _ended(paths):
        ended = dispatch.ended
        if dispatch.started.pack == PACK and ended is not None:
            outcome = ended.outcome
            by_model[model][dispatch.started.task] = LevelResult(
                level=dispatch.started.task,
                reply=ended.final_message,
                score=outcome.score if outcome.valid else None,
                parts=outcome.parts,
                notes=outcome.notes,
                seed=dispatch.started.seed,
                dispatch_id=ended.dispatch_id,
            )
    if not by_model:
        raise TaskError("these runs hold no level", "run some first: dyno run levels/… --target T")
    for model, results in by_model.items():
        with renamed(f"cannot write to {output}"):
            place = export_levels(model, results.values(), output)
        print(f"{place}: {len(results)} levels", file=sys.stderr)


def export_atif(paths: Iterable[Path], output: Path) -> None:
    """Write the trajectory of every dispatch: `output/<run>-<dispatch>.json`.

    Raises:
        TaskError: these runs hold no dispatch that has ended.
        StoreError: a run cannot be read, or a file cannot be written.
    """
    written = 0
    for path in paths:
        for dispatch in read_dispatches(path)[0]:
            source = dispatch_folder(path, dispatch.started.dispatch_id) / "trajectory.json"
            if source.is_file():
                with renamed(f"cannot write to {output}"):
                    output.mkdir(parents=True, exist_ok=True)
                    name = folder_name(f"{path.name}-{dispatch.started.dispatch_id}")
                    (output / f"{name}.json").write_bytes(source.read_bytes())
                written += 1
    if not written:
        raise TaskError("these runs hold no dispatch that has ended", "make one: dyno run TASK --target T")
    print(f"{output}: {written} trajectories", file=sys.stderr)


def _ended(paths: Iterable[Path]) -> Iterator[tuple[str, StoredDispatch]]:
    """Dispatches that have ended, oldest run first, each with the name of its model, or of its scripted agent."""
    for path in paths:
        dispatches, _ = read_dispatches(path)
        if not dispatches:
            continue
        facts = read_run(path).info.facts
        for dispatch in dispatches:
            scripted = dispatch.started.fidelity != "dispatch"
            yield dispatch.started.agent if scripted else facts.model or facts.engine, dispatch
