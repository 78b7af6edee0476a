"""A cache run from target to report: open, replay, watch, store, summarise. The flow behind `dyno cache` and `dyno
demo`.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from backends import open_engine, parse_target
from backends.base import Engine, EngineError, Facts, KeepsTime, LogsLoad
from harness.replay import Plan, replay
from harness.sessions import Session, SessionError, bundled_sessions, read_session
from profiler.document import CacheDocument
from profiler.guards import Watcher, drift, judge
from profiler.load_log import load_sizes
from profiler.machine import machine, versions
from profiler.records import Failure, RequestRecord, RunInfo
from profiler.report import print_document
from profiler.residency import MemorySampler, ReadsGpus
from profiler.residency_nvidia import open_gpus
from profiler.residency_summary import summarise_residency
from profiler.store import RunWriter, new_run_id, read_run
from profiler.summary import summarise


class CacheRun(msgspec.Struct, frozen=True):
    """What `dyno cache` was asked to do."""

    command: str
    target: str
    sessions: tuple[Session, ...]
    repeat: int
    cold: bool
    runs: Path
    json_output: bool


def chosen_sessions(names: list[str]) -> tuple[Session, ...]:
    """Sessions by bundled name, file or folder; all bundled ones for an empty list.

    Raises:
        SessionError: no such name or file, a folder without sessions, or a bad file.
    """
    if not names:
        return bundled_sessions()
    bundled = {s.name: s for s in bundled_sessions()}
    chosen: list[Session] = []
    for name in names:
        path = Path(name)
        if name in bundled:
            chosen.append(bundled[name])
        elif path.is_dir():
            files = sorted(path.glob("*.jsonl"))
            if not files:
                raise SessionError(path, None, "no session files (*.jsonl) in this folder", "give another folder")
            chosen += map(read_session, files)
        elif path.exists() or path.suffix:
            chosen.append(read_session(path))
        else:
            hint = f"bundled sessions: {', '.join(bundled)}"
            raise SessionError(path, None, "neither a file nor a bundled session", hint)
    _check_names(chosen)
    return tuple(chosen)


def _check_names(sessions: list[Session]) -> None:
    names = [s.name for s in sessions]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise SessionError(Path(twice), None, "two sessions of this name", "give each once; --repeat repeats them")


def run_cache(run: CacheRun) -> None:
    """Replay, store and report.

    Raises:
        EngineError: the engine could not be started, or went away; what was measured is stored and reported first.
        KeyboardInterrupt: likewise after Ctrl-C.
    """
    target = parse_target(run.target)
    with _gpus() as gpus_of, closing(open_engine(target)) as engine:
        info = _info(run, engine)
        writer = RunWriter.create(run.runs, info)
        try:
            _measure(run, engine, writer, gpus_of(info.facts))
        except KeyboardInterrupt:
            writer.close("interrupted")
            raise
        except EngineError as error:
            writer.close("failed", Failure(type(error).__name__, str(error)))
            raise
        else:
            writer.close("complete")
        finally:
            print_document(document_of(writer.path), writer.path, json_output=run.json_output)


def document_of(path: Path) -> CacheDocument:
    """The document of a stored run."""
    stored = read_run(path)
    guards = {r.request_id: judge(stored.guards, _window(r)) for r in stored.requests}
    return summarise(
        stored.info,
        stored.requests,
        guards=guards,
        doubts=drift(stored.anchors),
        notes=stored.notes,
        closed=stored.closed,
        residency=summarise_residency(stored.info, stored.requests, stored.residency),
    )


def _window(record: RequestRecord) -> tuple[int, int]:
    stamps = record.stamps
    return stamps.sent_ns, stamps.done_ns or stamps.last_delta_ns or stamps.sent_ns


def _measure(run: CacheRun, engine: Engine, writer: RunWriter, gpus: ReadsGpus | None) -> None:
    plan = Plan(run.sessions, run.repeat, nonce=secrets.token_hex(8) if run.cold else None)
    # Simulated time has no machine to watch, and no memory: its stamps are on another clock.
    simulated = isinstance(engine, KeepsTime)
    watcher = None if simulated else Watcher(engine.pids, writer.guard)
    sampler = None if simulated else MemorySampler(engine.pids, writer.residency, gpus=gpus)
    with watcher or nullcontext(), sampler or nullcontext(), _progress(plan) as advance:
        for record, body in replay(engine, plan, on_anchor=writer.anchor):
            writer.request(record, body)
            advance(record)
    if watcher is not None and watcher.error is not None:
        print(f"dyno: the machine was not watched to the end: {watcher.error}", file=sys.stderr)
    if sampler is not None and sampler.error is not None:
        print(f"dyno: memory was not sampled to the end: {sampler.error}", file=sys.stderr)


@contextmanager
def _gpus() -> Generator[Callable[[Facts], ReadsGpus | None]]:
    """What reads the GPUs for an engine, once it is known whether its launch lies after this moment."""
    gpus = open_gpus()
    if gpus is None:
        yield lambda _: None
        return
    with closing(gpus):
        before = gpus.baseline()
        yield lambda facts: partial(gpus.read, baseline=before if facts.launched else None)


@contextmanager
def _progress(plan: Plan) -> Generator[Callable[[RequestRecord], None]]:
    """Progress on standard error: a bar on a terminal, else a line for each session. Standard output stays clean."""
    console = Console(stderr=True)
    if not console.is_terminal:
        seen: set[tuple[str, int]] = set()

        def say(record: RequestRecord) -> None:
            if (record.session, record.repeat) not in seen:
                seen.add((record.session, record.repeat))
                print(f"session {len(seen)}/{plan.replays} {record.session}", file=sys.stderr, flush=True)

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=plan.requests)
        yield lambda record: progress.update(task, advance=1, description=record.session)


def _info(run: CacheRun, engine: Engine) -> RunInfo:
    started = time.time_ns()
    return RunInfo(
        run_id=new_run_id(started),
        command=run.command,
        started_unix_ns=started,
        target=run.target,
        facts=engine.facts(),
        machine=machine(),
        versions=versions(),
        load=load_sizes(engine.load_log()) if isinstance(engine, LogsLoad) else None,
        settings={
            "repeat": run.repeat,
            "cold": run.cold,
            "sessions": {
                s.name: {"provokes": s.provokes or "unknown", "side": s.side or "unknown"} for s in run.sessions
            },
        },
    )
