"""What a comparison of quants leaves on disk, so that it can be read in any state, and resumed.

    runs/<id>/plan.json     Comparison: the plan, all of it resolved, and what was predicted
    runs/<id>/quant.jsonl   StepDone, one a line, each as soon as it is done
    runs/<id>/001/ …        one run for each load of an engine (`profiler.store`): requests, memory, guards, dispatches

A step is done when its line is there: a kill loses the step that was at work, and resuming repeats nothing else. A torn
last line costs its step alone.

Raises only `StoreError`, and `PlanError` for a name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.plan_folder import PlanFolder
from harness.quant.base import Predicted
from harness.quant.plan import SCHEMA, QuantPlan
from harness.quant.steps import StepDone
from profiler.record_lines import read_lines
from profiler.records import SCHEMA as LINES_SCHEMA
from profiler.run_files import Header, renamed

__all__ = ["Comparison", "StepWriter", "StoredComparison", "create", "find_comparison", "read_comparison"]

_FOLDER: Final = PlanFolder("plan.json", "comparison", "dyno quant")
STEPS: Final = "quant.jsonl"


class Comparison(msgspec.Struct, frozen=True):
    """The plan with the id and the time of its beginning, and what was predicted, by the candidate's name.

    `machine` is what it was predicted for, in words.
    """

    comparison_id: str
    started_unix_ns: int
    plan: QuantPlan
    predicted: dict[str, Predicted] = {}
    machine: str | None = None
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA


class StoredComparison(msgspec.Struct, frozen=True):
    """A comparison as its files hold it; `notes` say what was lost."""

    path: Path
    comparison: Comparison
    done: tuple[StepDone, ...]
    notes: tuple[str, ...] = ()


class StepWriter:
    """Appends steps to a comparison that may have some already."""

    def __init__(self, path: Path) -> None:
        """Open the file in a comparison's folder, or begin it. Raises StoreError."""
        self._file = path / STEPS
        with renamed(f"cannot write {self._file}"):
            self._fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            size = os.fstat(self._fd).st_size
            if size == 0:
                self._append(Header(LINES_SCHEMA, StepDone.__name__).line())
            elif os.pread(self._fd, 1, size - 1) != b"\n":
                # A line that was torn by a kill: what follows must not become a part of it.
                self._append(b"\n")

    def step(self, done: StepDone) -> None:
        """Append a step. Raises StoreError."""
        with renamed(f"cannot write {self._file}"):
            self._append(_encoded(done) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _append(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._fd, rest) :]


def create(runs: Path, comparison: Comparison) -> Path:
    """Make the folder of a new comparison. Raises StoreError."""
    return _FOLDER.create(runs / comparison.comparison_id, _encoded(comparison))


def find_comparison(runs: Path, name: str) -> Path:
    """The folder of the comparison that `name` means: its id, a prefix that only it has, its path, or `latest`.

    Raises:
        PlanError: none or several are meant.
    """
    return _FOLDER.find(runs, name)


def read_comparison(path: Path) -> StoredComparison:
    """Read a comparison's folder, finished or not.

    Raises:
        StoreError: there is none, or its plan cannot be read.
    """
    comparison = _FOLDER.read(path, Comparison, _decoded)
    if not (path / STEPS).is_file():
        return StoredComparison(path, comparison, ())
    with renamed(f"cannot read {path / STEPS}"):
        done, notes = read_lines(path / STEPS, StepDone)
    return StoredComparison(path, comparison, done, notes)


def _encoded(value: msgspec.Struct) -> bytes:
    return msgspec.json.encode(value, enc_hook=_encodable)


def _encodable(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"cannot store a {type(value).__name__}")


def _decoded(kind: type[Any], value: Any) -> Any:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(f"cannot read a {kind.__name__}")
