"""The files of a run, `runs/<id>/`. Nothing else in dyno writes or reads them; it judges nothing.

    run.json        RunInfo, written last when a run is created, by rename: a folder without it is no run
    requests.jsonl  RequestRecord   first line {"schema": 1, "holds": …}, then one record a line,
    guards.jsonl    GuardSample     each written whole by one `write` as soon as it exists
    anchors.jsonl   AnchorSample
    residency.jsonl ResidencySample
    bodies.zst      raw request bodies, one compressed stream, flushed after each (`profiler.run_files`)
    prompts.zst     prompts as the engine rendered them, and what it generated (`profiler.rendered`), likewise
    started.jsonl, turns.jsonl, dispatches.jsonl, dispatches/   of a run with agents (`profiler.dispatch_store`)
    load.log        what the engine logged while it loaded, as text; only of one that was launched here
    closed.json     RunClosed, by rename; a killed run has none
    tables/         all of this as tables (`harness.history.kept`), made of it after the close, and no part of the run

A killed process loses at most the record it was writing. Records are not synced to the disk one by one: that
would cost milliseconds inside the measurement, and only a machine that loses power needs it.

Raises only `StoreError`, whose `hint` says what to do next (exit code 3).
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec

from profiler.record_lines import new_lines, read_lines
from profiler.records import SCHEMA, AnchorSample, Failure, GuardSample, RequestRecord, RunClosed, RunInfo
from profiler.rendered import Rendered
from profiler.residency.records import ResidencySample
from profiler.run_files import (
    BlobWriter,
    StoreError,
    blobs,
    check_schema,
    encode,
    renamed,
    write_whole,
)

__all__ = [
    "RunWriter",
    "StoreError",
    "StoredRun",
    "read_bodies",
    "read_load_log",
    "read_prompts",
    "read_run",
]

_WALL_CLOCK: Final = time.time_ns  # noqa: TID251 (the date at which a run ends)
_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Status = Literal["complete", "interrupted", "failed"]
T = TypeVar("T")


class StoredRun(msgspec.Struct, frozen=True):
    """A run as its files hold it; `closed` is `None` if the run was killed or still goes on.

    `notes` says, a line each, what was lost: torn and unreadable lines, missing files.
    """

    info: RunInfo
    requests: tuple[RequestRecord, ...]
    guards: tuple[GuardSample, ...]
    anchors: tuple[AnchorSample, ...]
    closed: RunClosed | None
    notes: tuple[str, ...] = ()
    residency: tuple[ResidencySample, ...] = ()


class _Schema(msgspec.Struct, frozen=True):
    schema: int = SCHEMA


class RunWriter:
    """Writes one run, every record when it exists. Usable from several threads; `create` makes it."""

    def __init__(self, path: Path, *, clock: Callable[[], int] = _WALL_CLOCK) -> None:
        """Open the files of a new run in the empty folder `path`; `clock` tells unix time in ns."""
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._open = True
        self._requests = new_lines(path / "requests.jsonl", RequestRecord)
        self._guards = new_lines(path / "guards.jsonl", GuardSample)
        self._anchors = new_lines(path / "anchors.jsonl", AnchorSample)
        self._residency = new_lines(path / "residency.jsonl", ResidencySample)
        self._bodies = BlobWriter(path / "bodies.zst", "bodies")
        self._prompts = BlobWriter(path / "prompts.zst", "prompts")

    @classmethod
    def create(cls, root: Path, info: RunInfo, *, clock: Callable[[], int] = _WALL_CLOCK) -> RunWriter:
        """Make `root/<run_id>/` with its files.

        Raises:
            StoreError: the folder exists already or cannot be made or written.
        """
        if not _RUN_ID.fullmatch(info.run_id):
            raise StoreError(f"{info.run_id!r} is no run id", hint="use letters, digits, '.', '_' and '-'")
        path = root / info.run_id
        with renamed(f"cannot create the run {path}"):
            path.mkdir(parents=True)
            writer = cls(path, clock=clock)
            write_whole(path / "run.json", encode(info))
        return writer

    def describe(self, info: RunInfo) -> None:
        """Write what the run is again, when more is known of its server. Raises StoreError as `request` does."""
        with self._writing("run.json"):
            write_whole(self.path / "run.json", encode(info))

    def load_log(self, text: str) -> None:
        """Write what the engine logged while it loaded; nothing for an empty text. Raises StoreError as `request`."""
        with self._writing("load.log"):
            if text:
                write_whole(self.path / "load.log", text.encode("utf-8", "replace"))

    def request(self, record: RequestRecord, body: bytes | None = None, rendered: Rendered | None = None) -> None:
        """Append a record, then the raw body it was sent with and the prompt as the engine saw it.

        Raises:
            StoreError: the disk is full, the run is closed.
        """
        with self._writing("requests.jsonl"):
            self._requests.append(encode(record) + b"\n")
            if body is not None:
                self._bodies.append(record.request_id, body)
            if rendered is not None:
                self._prompts.append(record.request_id, rendered.encoded())

    def guard(self, sample: GuardSample) -> None:
        """Append what the watcher saw. Raises StoreError as `request` does."""
        with self._writing("guards.jsonl"):
            self._guards.append(encode(sample) + b"\n")

    def anchor(self, sample: AnchorSample) -> None:
        """Append an anchor measurement. Raises StoreError as `request` does."""
        with self._writing("anchors.jsonl"):
            self._anchors.append(encode(sample) + b"\n")

    def residency(self, sample: ResidencySample) -> None:
        """Append what the memory sampler saw. Raises StoreError as `request` does."""
        with self._writing("residency.jsonl"):
            self._residency.append(encode(sample) + b"\n")

    def close(self, status: Status, error: Failure | None = None) -> None:
        """End the run. A second call changes nothing: the first status stands.

        Raises:
            StoreError: the end could not be written; the records before it stand.
        """
        with self._lock, renamed(f"cannot close the run {self.path}"):
            if not self._open:
                return
            self._open = False
            for appender in (self._requests, self._guards, self._anchors, self._residency):
                appender.close()
            self._bodies.close()
            self._prompts.close()
            closed = RunClosed(ended_unix_ns=self._clock(), status=status, error=error)
            write_whole(self.path / "closed.json", encode(closed))

    @contextlib.contextmanager
    def _writing(self, name: str) -> Generator[None]:
        with self._lock, renamed(f"cannot write {self.path / name}"):
            if not self._open:
                raise StoreError(f"the run {self.path.name} is closed, {name} takes no more records")
            yield


def read_run(path: Path) -> StoredRun:
    """Read a run's folder, finished or not. What cannot be read is in `notes` and costs that record alone.

    Raises:
        StoreError: no run there, `run.json` cannot be read, or a newer dyno wrote the run.
    """
    with renamed(f"cannot read the run {path}"):
        info = _read_info(path / "run.json")
        requests, request_notes = read_lines(path / "requests.jsonl", RequestRecord)
        guards, guard_notes = read_lines(path / "guards.jsonl", GuardSample)
        anchors, anchor_notes = read_lines(path / "anchors.jsonl", AnchorSample)
        # Runs from before it was kept have no such file, and have lost nothing.
        memory = path / "residency.jsonl"
        residency, memory_notes = read_lines(memory, ResidencySample) if memory.exists() else ((), ())
        closed, closed_notes = _read_closed(path / "closed.json")
    notes = (*request_notes, *guard_notes, *anchor_notes, *memory_notes, *closed_notes)
    return StoredRun(info, requests, guards, anchors, closed, notes, residency)


def read_bodies(path: Path) -> Iterator[tuple[int, bytes]]:
    """The raw bodies of the run in folder `path`, as (request_id, body); ends quietly where the file is cut.

    Raises:
        StoreError: no such file, a newer schema, or bytes damaged rather than cut (after the good bodies).
    """
    file = path / "bodies.zst"
    with renamed(f"cannot read {file}"):
        yield from blobs(file, "bodies")


def read_prompts(path: Path) -> Iterator[tuple[int, Rendered]]:
    """The prompts of the run in folder `path`, as (request_id, prompt); none for a run from before they were kept.

    Raises:
        StoreError: as `read_bodies`, but for a missing file.
    """
    file = path / "prompts.zst"
    with renamed(f"cannot read {file}"):
        if file.exists():
            for request_id, blob in blobs(file, "prompts"):
                yield request_id, Rendered.decoded(blob)


def read_load_log(path: Path) -> str:
    """What the engine logged while it loaded; empty where the run in folder `path` holds no such log.

    Raises:
        StoreError: it is there and cannot be read.
    """
    file = path / "load.log"
    with renamed(f"cannot read {file}"):
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _read_info(file: Path) -> RunInfo:
    if not file.is_file():
        raise StoreError(f"no run in {file.parent}: it holds no run.json", hint="name a folder under runs/")
    try:
        return _read_object(file, RunInfo)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read {file}: {error}", hint="the run cannot be used without it") from error


def _read_closed(file: Path) -> tuple[RunClosed | None, tuple[str, ...]]:
    if not file.is_file():
        return None, ()
    try:
        return _read_object(file, RunClosed), ()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, (f"{file.name} cannot be read: {error}",)


def _read_object(file: Path, record: type[T]) -> T:
    data = file.read_bytes()
    # The schema first and alone: a newer file must be named as such, not as a malformed one.
    check_schema(msgspec.json.decode(data, type=_Schema).schema, file)
    return msgspec.json.decode(data, type=record)
