"""A simulation from its inputs to the report. The flow behind `dyno simulate`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from backends import open_engine
from backends.base import Target
from harness.cli.cache_run import chosen_sessions
from harness.cli.template_run import target_of
from harness.sessions import Session, bundled_sessions
from harness.simulation.compare import Comparison, Simulated
from harness.simulation.facts import facts_of_model
from harness.simulation.input import Workload, workload_of_run, workload_of_sessions
from harness.simulation.result import document_of, in_words
from harness.simulation.settings import chosen_engines, read_values, settings_of, split_facts
from harness.targets import resolve_target
from profiler.policies import policy_names
from profiler.report.simulate import print_simulation
from profiler.run_names import UnknownRun, find_run
from profiler.simulate_document import TokenSource

__all__ = ["SimulateRun", "run_simulate"]

USUAL_ENGINE = "llama-server"
SCRIPTED = "scripted"
LATEST = "latest"


class SimulateRun(msgspec.Struct, frozen=True):
    """What `dyno simulate` was asked to do."""

    inputs: tuple[str, ...]
    engines: tuple[str, ...]
    settings: tuple[str, ...]
    flags: dict[str, str | None]
    model: str | None
    requests: bool
    runs: Path
    json_output: bool


def run_simulate(run: SimulateRun) -> None:
    """Simulate and report.

    Raises:
        TargetError, SessionError, UnknownRun: an unknown engine, option, value, session or run.
        StoreError, EngineError: a run that holds no prompts; the engine that renders could not be started.
        KeyboardInterrupt: after Ctrl-C; the settings that were done are reported first.
    """
    asked = read_values(run.settings, run.flags)
    paths, sessions = resolve_inputs(run.inputs, run.runs)
    chosen_engines(run.engines)
    workloads = [workload_of_run(path, {key: values[0] for key, values in asked.items()}) for path in paths]
    notes: list[str] = []
    engines = chosen_engines(run.engines or _engines_of(workloads, notes))
    facts, varied = split_facts(engines, asked)
    own = [(w.engine, w.own) for w in workloads if w.engine is not None and w.own is not None]
    settings = settings_of(engines, varied, own)
    if sessions:
        workloads.append(_rendered(sessions, run.model))
    workloads = [msgspec.structs.replace(w, facts={**w.facts, **facts}) for w in workloads]
    comparison = Comparison(workloads, settings, tuple(varied))
    done: list[Simulated] = []
    try:
        for one in _shown(comparison):
            done.append(one)
    finally:
        # After Ctrl-C too: what is done stands.
        if done:
            complete = len(done) == len(comparison.settings)
            document = document_of(
                comparison.compared(done), complete=complete, requests=run.requests, notes=tuple(notes)
            )
            print_simulation(document, json_output=run.json_output)


def resolve_inputs(inputs: Sequence[str], runs: Path) -> tuple[list[Path], tuple[Session, ...]]:
    """The folders of the runs, and the sessions, that some names, files and folders mean.

    Raises:
        SessionError, UnknownRun: one means neither.
    """
    bundled = [session.name for session in bundled_sessions()]
    paths: list[Path] = []
    names: list[str] = []
    for text in inputs:
        path = Path(text)
        is_folder = path.is_dir() and not (path / "run.json").is_file()
        if text in bundled or path.is_file() or path.suffix == ".jsonl" or is_folder:
            names.append(text)
        else:
            paths.append(_run_of(text, runs, bundled))
    return paths, chosen_sessions(names) if names else ()


def _run_of(text: str, runs: Path, bundled: Sequence[str]) -> Path:
    try:
        return find_run(runs, text)
    except UnknownRun as error:
        if text == LATEST:
            raise
        near = difflib.get_close_matches(text, bundled, 1)
        known = f"did you mean the session {near[0]}?" if near else f"bundled sessions: {', '.join(bundled)}"
        raise UnknownRun(f"{text!r} is no session, and no run in {runs}", hint=f"{known}; {error.hint}") from error


def _engines_of(workloads: Sequence[Workload], notes: list[str]) -> tuple[str, ...]:
    """The engines of the runs, as far as a policy models them; else llama-server."""
    engines = [w.engine for w in workloads if w.engine is not None]
    known = [engine for engine in engines if engine in policy_names()]
    unknown = [engine for engine in engines if engine not in policy_names()]
    if unknown:
        notes.append(f"no policy models {unknown[0]}: the run's requests are simulated on {USUAL_ENGINE}")
    return tuple(dict.fromkeys(known)) or (USUAL_ENGINE,)


def _rendered(sessions: tuple[Session, ...], model: str | None) -> Workload:
    """Sessions as token sequences: by the engine of `model`, or by the scripted one, which needs no model."""
    target = _target_of(model) if model is not None else Target(SCRIPTED)
    facts: dict[str, Any] = {}
    if target.model is not None and (target.model.endswith(".gguf") or Path(target.model).is_dir()):
        known = facts_of_model(target.model, target.options.get("kv", "f16"))
        facts, notes = known.values, known.notes
    else:
        notes = ("nothing is known of the model: full attention, and saved prompts that never fill the host cache",)
    with (
        closing(open_engine(target)) as engine,
        _progress("rendering", "prompts", sum(len(s.turns) for s in sessions)) as advance,
    ):
        source: TokenSource = "scripted" if target.engine == SCRIPTED else "engine"
        made = workload_of_sessions(sessions, engine, source, facts, advance)
    return msgspec.structs.replace(made, notes=(*made.notes, *notes))


def _target_of(model: str) -> Target:
    """A bare file or folder gets an engine with the least settings, which renders and evaluates nothing."""
    place, _, _ = model.partition("?")
    bare = Path(place).is_dir() or (place.endswith(".gguf") and ":" not in place)
    return target_of(model) if bare else resolve_target(model)


def _shown(comparison: Comparison) -> Iterator[Simulated]:
    """The settings as they are done, with progress on standard error."""
    with _progress("simulating", "settings", len(comparison.settings)) as advance:
        for one in comparison.run():
            advance(in_words(one.setting.engine, one.options))
            yield one


@contextmanager
def _progress(doing: str, what: str, total: int) -> Generator[Callable[[str], None]]:
    """A bar on standard error, on a terminal alone; standard output stays clean."""
    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"{doing} {total} {what}", file=sys.stderr, flush=True)
        yield lambda _: None
        return
    columns = (TextColumn("{task.fields[what]}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("", total=total, what=f"{doing} {what}")
        yield lambda name: progress.update(task, advance=1, description=escape(name))
