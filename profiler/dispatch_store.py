"""What agents leave in a run's folder beside the requests of `profiler.store`: written at once, read in any state.

    started.jsonl      DispatchStarted   before its first turn
    turns.jsonl        TurnRecord        as each turn ends
    dispatches.jsonl   DispatchRecord    once it was verified and judged; a killed dispatch has none
    dispatches/<id>/   workspace.diff, trajectory.json (ATIF), agent.log of an external agent, workspace/ as it was left

Raises only `StoreError`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from profiler.dispatch_records import DispatchRecord, DispatchStarted, TurnRecord
from profiler.record_lines import new_lines, read_lines
from profiler.run_files import encode, renamed, write_whole

__all__ = ["DispatchWriter", "StoredDispatch", "dispatch_folder", "holds_dispatches", "read_dispatches"]


class StoredDispatch(msgspec.Struct, frozen=True):
    """A dispatch as the files hold it; `ended` is `None` for one that was killed, or that is still at work."""

    started: DispatchStarted
    turns: tuple[TurnRecord, ...]
    ended: DispatchRecord | None


def dispatch_folder(run: Path, dispatch_id: str) -> Path:
    """Where a dispatch of the run in folder `run` keeps its texts."""
    return run / "dispatches" / dispatch_id


class DispatchWriter:
    """Writes the dispatches of one run, each record whole as soon as it exists. Usable from several threads."""

    def __init__(self, run: Path) -> None:
        """Make the files in the folder of a run that has none of them. Raises StoreError."""
        self._run = run
        self._lock = threading.Lock()
        self._open = True
        with renamed(f"cannot create the dispatches of {run}"):
            self._started = new_lines(run / "started.jsonl", DispatchStarted)
            self._turns = new_lines(run / "turns.jsonl", TurnRecord)
            self._ended = new_lines(run / "dispatches.jsonl", DispatchRecord)

    def started(self, record: DispatchStarted) -> None:
        """Append what a dispatch is. Raises StoreError."""
        with self._lock, renamed(f"cannot write {self._run / 'started.jsonl'}"):
            self._started.append(encode(record) + b"\n")

    def turn(self, record: TurnRecord) -> None:
        """Append a turn. Raises StoreError."""
        with self._lock, renamed(f"cannot write {self._run / 'turns.jsonl'}"):
            self._turns.append(encode(record) + b"\n")

    def ended(self, record: DispatchRecord) -> None:
        """Append how a dispatch ended. Raises StoreError."""
        with self._lock, renamed(f"cannot write {self._run / 'dispatches.jsonl'}"):
            self._ended.append(encode(record) + b"\n")

    def folder(self, dispatch_id: str) -> Path:
        """The folder for the texts of a dispatch, made if it is not there. Raises StoreError."""
        folder = dispatch_folder(self._run, dispatch_id)
        with renamed(f"cannot create {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def text(self, dispatch_id: str, name: str, data: bytes) -> None:
        """Write one of the texts of a dispatch, in full or not at all; it ends with one line end. Raises StoreError."""
        file = self.folder(dispatch_id) / name
        with renamed(f"cannot write {file}"):
            write_whole(file, data.rstrip(b"\n"))

    def close(self) -> None:
        """Close the files. May be called twice."""
        with self._lock:
            for appender in (self._started, self._turns, self._ended) if self._open else ():
                appender.close()
            self._open = False


def holds_dispatches(run: Path) -> bool:
    """Whether the run in folder `run` is one with agents."""
    return (run / "started.jsonl").exists()


def read_dispatches(run: Path) -> tuple[tuple[StoredDispatch, ...], tuple[str, ...]]:
    """The dispatches of the run in folder `run` in the order of their start, and what of them is lost, a line each.

    A run without agents has none.

    Raises:
        StoreError: a file cannot be read, or a newer dyno wrote it.
    """
    if not holds_dispatches(run):
        return (), ()
    with renamed(f"cannot read the dispatches of {run}"):
        started, notes = read_lines(run / "started.jsonl", DispatchStarted)
        turns, turn_notes = read_lines(run / "turns.jsonl", TurnRecord)
        ended, ended_notes = read_lines(run / "dispatches.jsonl", DispatchRecord)
    ends = {record.dispatch_id: record for record in ended}
    found = (StoredDispatch(one, tuple(_of(turns, one.dispatch_id)), ends.get(one.dispatch_id)) for one in started)
    return tuple(found), (*notes, *turn_notes, *ended_notes)


def _of(turns: tuple[TurnRecord, ...], dispatch_id: str) -> Iterator[TurnRecord]:
    return (turn for turn in turns if turn.dispatch_id == dispatch_id)
