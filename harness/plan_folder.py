"""Folders under runs/ that hold a plan, and a run for each load of an engine that it led to (`001`, `002`, …).

What the plan is made of, and what else lies there, is that of experiments (`harness.experiment.store`) and of
comparisons of quants (`harness.quant.store`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from harness.experiment.plan import SCHEMA, PlanError
from profiler.run_files import StoreError, check_schema, renamed, write_whole

__all__ = ["PlanFolder", "loads_of", "next_load"]

T = TypeVar("T")


class PlanFolder(NamedTuple):
    """A kind of such folders: the plan's file, what one is called (`experiment`), and which command makes one."""

    file: str
    what: str
    command: str

    def create(self, path: Path, plan: bytes) -> Path:
        """Make a new one, with its plan. Raises StoreError."""
        with renamed(f"cannot create the {self.what} {path}"):
            path.mkdir(parents=True)
            write_whole(path / self.file, plan)
        return path

    def find(self, runs: Path, name: str) -> Path:
        """The one that `name` means: its id, a prefix that only it has, its path, or `latest`.

        Raises:
            PlanError: none or several are meant.
        """
        found = sorted(file.parent for file in runs.glob(f"*/{self.file}"))
        if name == "latest" and found:
            return found[-1]
        if name and (Path(name) / self.file).is_file():
            return Path(name)
        begun = [path for path in found if name and path.name.startswith(name)]
        exact = [path for path in begun if path.name == name] or begun
        if len(exact) == 1:
            return exact[0]
        shown = ", ".join(path.name for path in (begun or found)[-4:])
        said = f"{len(begun)} {self.what}s begin with {name!r}" if begun else f"no {self.what} {name!r} in {runs}"
        if not begun and name and Path(name).is_dir():
            said = f"{name} is no {self.what}: it holds no {self.file}"
        raise PlanError(said, hint=f"most recent: {shown}" if shown else f"{self.command} makes one")

    def read(self, path: Path, plan: type[T], dec_hook: Callable[[type[Any], Any], Any] | None = None) -> T:
        """The plan in a folder. Raises StoreError: there is none, a newer dyno wrote it, or it cannot be read."""
        file = path / self.file
        if not file.is_file():
            raise StoreError(f"no {self.what} in {path}: it holds no {self.file}", hint="name a folder under runs/")
        with renamed(f"cannot read {file}"):
            data = file.read_bytes()
        try:
            check_schema(msgspec.json.decode(data, type=_Schema).schema, file)
            return msgspec.json.decode(data, type=plan, dec_hook=dec_hook)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            hint = f"the {self.what} cannot be used without it"
            raise StoreError(f"cannot read {file}: {error}", hint=hint) from error


def loads_of(path: Path) -> list[Path]:
    """The folders of the runs in such a folder, in their order."""
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and folder.name.isdecimal())


def next_load(path: Path) -> str:
    """The name of the next run in such a folder: `001`, and on."""
    return f"{max((int(load.name) for load in loads_of(path)), default=0) + 1:03d}"


class _Schema(msgspec.Struct, frozen=True):
    schema: int = SCHEMA
