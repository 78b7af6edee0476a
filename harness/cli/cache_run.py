"""A cache run from target to report: open, probe, replay, watch, store, summarise.

The flow behind `dyno cache` and `dyno demo`.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from backends import open_engine
from backends.base import Engine, EngineError, KeepsTime, LogsLoad
from harness.cli.watching import gpus_of, watched
from harness.history.closing import keep_if_large
from harness.opening import open_run
from harness.replay import Plan, replay
from harness.run_facts import run_info
from harness.run_sessions import described
from harness.sessions import Session, SessionError, bundled_sessions, read_session
from harness.targets import resolve_target
from profiler.calibration import calibration_of
from profiler.document import CacheDocument
from profiler.guards import drift, judge
from profiler.ledger import Ledger
from profiler.records import Failure, RequestRecord, RunInfo
from profiler.report.cache import print_document
from profiler.residency.sampler import ReadsGpus
from profiler.residency.summary import summarise_residency
from profiler.store import RunWriter, read_run
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
    calibrate: bool = True
    named: tuple[str, ...] = ()


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
    target = resolve_target(run.target)
    with gpus_of() as gpus, closing(open_engine(target)) as engine:
        info = _info(run, str(target), engine)
        plan = Plan(run.sessions, run.repeat, nonce=secrets.token_hex(8) if run.cold else None)
        writer, ledger = RunWriter.create(run.runs, info), Ledger()
        try:
            info = _opened(engine, plan, ledger, info, calibrate=run.calibrate)
            writer.describe(info)
            writer.load_log(engine.load_log() if isinstance(engine, LogsLoad) else "")
            _measure(engine, plan, ledger, info, writer, gpus(info.facts))
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
            keep_if_large(writer.path)


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


def _opened(engine: Engine, plan: Plan, ledger: Ledger, info: RunInfo, *, calibrate: bool) -> RunInfo:
    """What the run is, with what its server was found to report. A simulation says how it reports in its options."""
    if isinstance(engine, KeepsTime):
        return info

    def say(number: int, total: int, length_tokens: int) -> None:
        if number == 1:
            print("this server does not say what it reused: timing prompts that it has never seen", file=sys.stderr)
        print(f"calibration {number}/{total} {length_tokens:,} tokens", file=sys.stderr, flush=True)

    opening = open_run(engine, plan, ledger, nonce=secrets.token_hex(8), calibrate=calibrate, on_calibration=say)
    if opening.calibration is not None and opening.calibration.fit is None:
        print("dyno: the times of these prompts are too few or too noisy to infer anything from", file=sys.stderr)
    return msgspec.structs.replace(info, probe=opening.probe, calibration=opening.calibration)


def _measure(
    engine: Engine, plan: Plan, ledger: Ledger, info: RunInfo, writer: RunWriter, gpus: ReadsGpus | None
) -> None:
    with watched(engine, writer, gpus), _progress(plan) as advance:
        calibration = calibration_of(info.calibration)
        for record, kept in replay(engine, plan, ledger=ledger, calibration=calibration, on_anchor=writer.anchor):
            writer.request(record, kept.body, kept.rendered)
            advance(record)


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
    # Twice a second: drawing takes time from the thread that measures.
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as progress:
        task = progress.add_task(plan.sessions[0].name, total=plan.requests)
        yield lambda record: progress.update(task, advance=1, description=record.session)


def _info(run: CacheRun, target: str, engine: Engine) -> RunInfo:
    settings = {
        "repeat": run.repeat,
        "cold": run.cold,
        "calibrate": run.calibrate,
        **described(run.sessions, run.named),
    }
    return run_info(run.command, target, engine, settings, time.time_ns())
