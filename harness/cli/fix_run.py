"""A fix from stored run to report: plan, replay with and without the levers, store, compare. Behind `dyno fix`."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import msgspec

from backends import open_engine
from backends.base import Engine, EngineError, KeepsTime, Target, TargetError
from harness.fixing.comparison import Arms, document_of
from harness.fixing.plan import FixPlan, Wanted, plan_fix
from harness.fixing.rerun import Piece, Salt, pieces_of, replay_piece, unchanged_by, with_levers
from harness.run_facts import run_info
from harness.run_sessions import sessions_of
from harness.sessions import Session
from harness.targets import resolve_target
from profiler.calibration import calibration_of
from profiler.dispatch_store import holds_dispatches
from profiler.findings import find
from profiler.guards import Watcher
from profiler.ledger import Ledger
from profiler.records import Failure, RunInfo
from profiler.report.fix import print_fix
from profiler.residency.sampler import MemorySampler
from profiler.run_names import find_run
from profiler.store import RunWriter, Status, StoredRun, StoreError, read_run

_FOREIGN_SERVER = (
    "this server was not started by dyno: both sides ran on it as it is, every prompt salted so that it starts cold"
)


class FixAsked(msgspec.Struct, frozen=True):
    """What `dyno fix` was asked to do."""

    run: str
    runs: Path
    wanted: Wanted
    apply: bool
    baseline: bool
    json_output: bool


def run_fix(asked: FixAsked) -> None:
    """Plan, and with `apply` measure; report.

    Raises:
        UnknownRun, TargetError, SessionError: no such run, lever or cause, or its sessions are gone or changed.
        StoreError: the run cannot be read, or keeps no prompts.
        EngineError: an engine could not be started, or went away; what was measured is stored and reported first.
        KeyboardInterrupt: likewise after Ctrl-C.
    """
    path = find_run(asked.runs, asked.run)
    stored = read_run(path)
    if stored.requests and not (path / "prompts.zst").exists():
        raise StoreError(f"the run {path.name} kept no prompts", hint="measure again with dyno cache")
    if holds_dispatches(path):
        hint = "set the lever and run again: dyno run … --set LEVER=VALUE; dyno explain says which"
        raise TargetError(f"the run {path.name} is one of an agent, which cannot be replayed as a session", hint=hint)
    if stored.info.settings.get("levers"):
        origin = stored.info.settings["repeats_run"]
        raise TargetError(
            f"the run {path.name} is itself one of dyno fix", hint=f"name the run that it repeats: {origin}"
        )
    target = resolve_target(stored.info.target)
    found = find(path, stored)
    plan = plan_fix(path, stored, found, asked.wanted)
    everywhere = asked.wanted.all_sessions
    if not asked.apply or not plan.chosen:
        document = document_of(stored, found, plan, None, everywhere=everywhere, notes=_unjudged(stored))
        print_fix(document, asked.runs, json_output=asked.json_output)
        return
    names = tuple(name for block in plan.blocks for name in block)
    sessions = {session.name: session for session in sessions_of(stored.info, names)}
    runs = _Runs(asked.runs, stored)
    status: Status = "complete"
    try:
        _replay(asked, stored, target, plan, sessions, runs)
    except KeyboardInterrupt:
        status = "interrupted"
        runs.close(status)
        raise
    except EngineError as error:
        status = "failed"
        runs.close(status, Failure(type(error).__name__, str(error)))
        raise
    else:
        runs.close(status)
    finally:
        paths = {numbers: writer.path for numbers, writer in runs.writers.items()}
        arms = Arms(paths if asked.baseline else {(): path, **paths}, "again" if asked.baseline else "stored", status)
        notes = (*_unjudged(stored), *_notes(stored, plan, sessions, runs))
        document = document_of(stored, found, plan, arms, everywhere=everywhere, notes=notes)
        print_fix(document, asked.runs, json_output=asked.json_output)


class _Runs:
    """The runs that are made, one for each set of levers in force, each opened with its first piece."""

    def __init__(self, root: Path, repeated: StoredRun) -> None:
        self.writers: dict[tuple[int, ...], RunWriter] = {}
        self.builds: set[str | None] = set()
        self._root, self._repeated = root, repeated
        self._sent: dict[tuple[int, ...], int] = {}

    def writer(self, piece: Piece, target: Target, engine: Engine) -> RunWriter:
        """The run that a piece belongs to."""
        if piece.numbers not in self.writers:
            info = _info(self._repeated, piece, target, engine)
            self.builds.add(info.facts.build)
            self.writers[piece.numbers] = RunWriter.create(self._root, info)
        return self.writers[piece.numbers]

    def next_id(self, piece: Piece) -> int:
        """Number of the next request of its run, from 1."""
        self._sent[piece.numbers] = self._sent.get(piece.numbers, 0) + 1
        return self._sent[piece.numbers]

    def close(self, status: Status, error: Failure | None = None) -> None:
        """End every run."""
        for writer in self.writers.values():
            writer.close(status, error)


def _replay(
    asked: FixAsked,
    stored: StoredRun,
    target: Target,
    plan: FixPlan,
    sessions: dict[str, Session],
    runs: _Runs,
) -> None:
    settings, shared = stored.info.settings, not stored.info.facts.launched
    salt = Salt(secrets.token_hex(8) if shared or settings.get("cold") else None, shared)
    repeat: int = settings.get("repeat", 1)
    everywhere = asked.wanted.all_sessions
    pieces = list(pieces_of(plan, sessions, repeat, baseline=asked.baseline, everywhere=everywhere))
    # A server that is shared has seen all pieces; one of our own only this one.
    with _Engines(target, shared=shared) as engines:
        for number, piece in enumerate(pieces, 1):
            with_what = "lever " + " + ".join(map(str, piece.numbers)) if piece.levers else "as it was"
            names = ", ".join(session.name for session in piece.sessions)
            print(f"replay {number}/{len(pieces)} {names}: {with_what}", file=sys.stderr, flush=True)
            with engines.serving(piece) as (engine, ledger):
                _one(piece, engine, ledger, salt, stored, runs, with_levers(target, piece.levers))


def _one(
    piece: Piece, engine: Engine, ledger: Ledger, salt: Salt, stored: StoredRun, runs: _Runs, target: Target
) -> None:
    writer = runs.writer(piece, target, engine)
    # Simulated time has no machine to watch, and no memory.
    simulated = isinstance(engine, KeepsTime)
    watcher = None if simulated else Watcher(engine.pids, writer.guard)
    sampler = None if simulated else MemorySampler(engine.pids, writer.residency)
    calibration = calibration_of(stored.info.calibration)
    with watcher or nullcontext(), sampler or nullcontext():
        for record, kept in replay_piece(engine, piece, salt, ledger, calibration=calibration, on_anchor=writer.anchor):
            numbered = msgspec.structs.replace(record, request_id=runs.next_id(piece))
            writer.request(numbered, kept.body, kept.rendered)


class _Engines:
    """Engines for pieces: a fresh one for each, or the one server that is there."""

    def __init__(self, target: Target, *, shared: bool) -> None:
        self._target, self._shared = target, shared
        self._engine: Engine | None = None
        self._ledger = Ledger()

    def __enter__(self) -> _Engines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()

    @contextmanager
    def serving(self, piece: Piece) -> Generator[tuple[Engine, Ledger]]:
        """An engine with the piece's levers, and the ledger of what it was sent."""
        if self._shared:
            self._engine = self._engine or open_engine(self._target)
            yield self._engine, self._ledger
            return
        with closing(open_engine(with_levers(self._target, piece.levers))) as engine:
            yield engine, Ledger()


def _info(repeated: StoredRun, piece: Piece, target: Target, engine: Engine) -> RunInfo:
    started = time.time_ns()  # noqa: TID251 (the date of a run)
    settings = {
        **repeated.info.settings,
        "repeats_run": repeated.info.run_id,
        "levers": [
            {
                "number": planned.row.number,
                "codes": planned.row.codes,
                "options": planned.lever.options,
                "parameters": planned.lever.parameters,
                "rewrite": planned.lever.rewrite,
            }
            for planned in piece.levers
        ],
    }
    written = str(target) if piece.levers else repeated.info.target
    info = run_info("fix", written, engine, settings, started)
    return msgspec.structs.replace(info, probe=repeated.info.probe, calibration=repeated.info.calibration)


def _unjudged(stored: StoredRun) -> tuple[str, ...]:
    unknown = sum(record.verdict.cache_class == "unknown" for record in stored.requests)
    if not unknown:
        return ()
    of = f"{unknown} of {len(stored.requests)} requests"
    return (f"{of} cannot be judged: the server does not say what it reused",)


def _notes(stored: StoredRun, plan: FixPlan, sessions: dict[str, Session], runs: _Runs) -> tuple[str, ...]:
    notes: list[str] = []
    build = stored.info.facts.build
    other = sorted(str(found) for found in runs.builds - {build})
    if other:
        notes.append(f"the run was made with {build}, these with {', '.join(other)}")
    if not stored.info.facts.launched:
        notes.append(_FOREIGN_SERVER)
    for planned in plan.chosen:
        if unchanged_by(planned, [sessions[name] for name in planned.row.sessions if name in sessions]):
            notes.append(f"lever {planned.row.number} finds nothing to change in these sessions")
    return tuple(notes)
