"""The files of a run, `runs/<id>/`. Nothing else in dyno writes or reads them; it judges nothing.

    run.json        RunInfo, written last when a run is created, by rename: a folder without it is no run
    requests.jsonl  RequestRecord   first line {"schema": 1, "holds": …}, then one record a line,
    guards.jsonl    GuardSample     each written whole by one `write` as soon as it exists
    anchors.jsonl   AnchorSample
    residency.jsonl ResidencySample
    bodies.zst      raw request bodies, one compressed stream, flushed after each (`profiler.run_files`)
    closed.json     RunClosed, by rename; a killed run has none

A killed process loses at most the record it was writing. Records are not synced to the disk one by one: that
would cost milliseconds inside the measurement, and only a machine that loses power needs it.

Raises only `StoreError`, whose `hint` says what to do next (exit code 3).
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from profiler.records import SCHEMA, AnchorSample, Failure, GuardSample, RequestRecord, RunClosed, RunInfo
from profiler.residency_records import ResidencySample
from profiler.run_files import (
    Appender,
    BodyWriter,
    Header,
    StoreError,
    bodies,
    check_header,
    check_schema,
    encode,
    renamed,
    write_whole,
)

__all__ = [
    "RUNS",
    "RunWriter",
    "StoreError",
    "StoredRun",
    "find_run",
    "list_runs",
    "new_run_id",
    "read_bodies",
    "read_run",
]

RUNS: Final = Path("runs")
"""Where runs are stored unless the user says otherwise."""

_WALL_CLOCK: Final = time.time_ns  # noqa: TID251 (the date at which a run ends)
_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SUFFIX_LETTERS: Final = "23456789abcdefghjkmnpqrstvwxyz"
_STAMP_LENGTH: Final = len("20261120-124501")
_SHOWN: Final = 3

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
        self._requests = _lines(path / "requests.jsonl", RequestRecord)
        self._guards = _lines(path / "guards.jsonl", GuardSample)
        self._anchors = _lines(path / "anchors.jsonl", AnchorSample)
        self._residency = _lines(path / "residency.jsonl", ResidencySample)
        self._bodies = BodyWriter(path / "bodies.zst")

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

    def request(self, record: RequestRecord, body: bytes | None = None) -> None:
        """Append a record, then the raw body it was sent with.

        Raises:
            StoreError: the disk is full, the run is closed.
        """
        with self._writing("requests.jsonl"):
            self._requests.append(encode(record) + b"\n")
            if body is not None:
                self._bodies.append(record.request_id, body)

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
            closed = RunClosed(ended_unix_ns=self._clock(), status=status, error=error)
            write_whole(self.path / "closed.json", encode(closed))

    @contextlib.contextmanager
    def _writing(self, name: str) -> Generator[None]:
        with self._lock, renamed(f"cannot write {self.path / name}"):
            if not self._open:
                raise StoreError(f"the run {self.path.name} is closed, {name} takes no more records")
            yield


def new_run_id(now_unix_ns: int) -> str:
    """A run id that sorts by time: UTC to the second and four random letters, `20261120-124501-k3f9`."""
    stamp = datetime.fromtimestamp(now_unix_ns // 1_000_000_000, UTC).strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{''.join(secrets.choice(_SUFFIX_LETTERS) for _ in range(4))}"


def read_run(path: Path) -> StoredRun:
    """Read a run's folder, finished or not. What cannot be read is in `notes` and costs that record alone.

    Raises:
        StoreError: no run there, `run.json` cannot be read, or a newer dyno wrote the run.
    """
    with renamed(f"cannot read the run {path}"):
        info = _read_info(path / "run.json")
        requests, request_notes = _read_lines(path / "requests.jsonl", RequestRecord)
        guards, guard_notes = _read_lines(path / "guards.jsonl", GuardSample)
        anchors, anchor_notes = _read_lines(path / "anchors.jsonl", AnchorSample)
        # Runs from before it was kept have no such file, and have lost nothing.
        memory = path / "residency.jsonl"
        residency, memory_notes = _read_lines(memory, ResidencySample) if memory.exists() else ((), ())
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
        yield from bodies(file)


def list_runs(root: Path = RUNS) -> tuple[Path, ...]:
    """The folders of all runs under `root`, oldest first; empty if there is no such folder.

    Raises:
        StoreError: the folder cannot be read.
    """
    with renamed(f"cannot list the runs in {root}"):
        if not root.exists():
            return ()
        found = [(info.stat().st_mtime_ns, info.parent) for info in root.glob("*/run.json")]
    # Ids tell time to the second; within it the time of creation decides.
    return tuple(path for _, path in sorted(found, key=lambda f: (f[1].name[:_STAMP_LENGTH], f)))


def find_run(root: Path, name: str) -> Path:
    """The folder of the run that `name` means: its id, a prefix that only it has, its path, or `latest`.

    Raises:
        StoreError: none or several runs are meant; lists the nearest or the most recent ids.
    """
    by_id = {path.name: path for path in list_runs(root)}
    if name in by_id:
        return by_id[name]
    if name == "latest" and by_id:
        return list(by_id.values())[-1]
    if name and (Path(name) / "run.json").is_file():
        return Path(name)
    begun = [run_id for run_id in by_id if name and run_id.startswith(name)]
    if len(begun) == 1:
        return by_id[begun[0]]
    if begun:
        hint = f"write more of the id: {', '.join(begun[-_SHOWN:])}"
        raise StoreError(f"{len(begun)} runs begin with {name!r}", hint=hint)
    if not by_id:
        raise StoreError(f"no runs in {root}", hint="every command that measures makes one: try dyno demo")
    near = get_close_matches(name, by_id, _SHOWN)
    recent = ", ".join(list(reversed(by_id))[:_SHOWN])
    hint = f"did you mean {', '.join(near)}?" if near else f"most recent: {recent}"
    raise StoreError(f"no run {name!r} in {root}", hint=hint)


def _lines(file: Path, record: type[Any]) -> Appender:
    return Appender(file, Header(SCHEMA, record.__name__).line())


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


def _read_lines(file: Path, record: type[T]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    if not file.is_file():
        return (), (f"{file.name} is missing",)
    header, *lines = file.read_bytes().split(b"\n")
    fault = check_header(header, record.__name__, file)
    notes = [fault] if fault else []
    decoder = msgspec.json.Decoder(record)
    records: list[T] = []
    for number, line in enumerate(lines, start=2):
        last = number == len(lines) + 1
        if last and not line:
            continue
        try:
            records.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = "is torn" if last else "cannot be read"
            notes.append(f"{file.name} line {number} {what}, its record is lost: {error}")
    return tuple(records), tuple(notes)
