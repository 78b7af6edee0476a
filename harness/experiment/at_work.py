"""Whether a process is at work on an experiment: what tells a dispatch that still runs from one that was killed.

    runs/<id>/working.json   the process, while it is at work; one that was killed leaves it behind

A process id is given again, so the time of its start is kept beside it. Of another machine nothing can be told.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import psutil

from profiler.run_files import encode, renamed, write_whole

__all__ = ["is_at_work", "working_on"]

_FILE: Final = "working.json"
_SAME_START_S: Final = 1.0


class _Worker(msgspec.Struct, frozen=True):
    pid: int
    started_unix_s: float


@contextmanager
def working_on(path: Path) -> Generator[None]:
    """Say so for as long as this lasts. Raises StoreError."""
    own = psutil.Process(os.getpid())
    with renamed(f"cannot write {path / _FILE}"):
        write_whole(path / _FILE, encode(_Worker(own.pid, own.create_time())))
    try:
        yield
    finally:
        (path / _FILE).unlink(missing_ok=True)


def is_at_work(path: Path) -> bool:
    """Whether a process that said so for the experiment in this folder is still there."""
    try:
        worker = msgspec.json.decode((path / _FILE).read_bytes(), type=_Worker)
        return abs(psutil.Process(worker.pid).create_time() - worker.started_unix_s) < _SAME_START_S
    except (OSError, msgspec.DecodeError, psutil.Error):
        return False
