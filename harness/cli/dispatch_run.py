"""From `dyno run` to a stored, reported dispatch: resolve what was asked for, open engine and sandbox, run, report."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import msgspec

from backends import open_engine
from backends.base import Engine, EngineDied, Facts, KeepsTime, LogsLoad, Target, TargetError
from harness.agent.work import forced_work, model_work, script_work
from harness.cli.dispatch_report import print_dispatches
from harness.cli.live import live_dispatch
from harness.cli.watching import gpus_of, watched
from harness.diary import Site
from harness.dispatch import Order, Work, check_order, run_dispatch
from harness.external.command import AgentError, ExternalAgent, program_of
from harness.external.work import external_work
from harness.run_facts import run_info
from harness.sandbox.base import Capabilities
from harness.sandbox.choice import choose
from harness.sending import Sender
from harness.settings import Setting, find_setting, levers, name_of, parse_assignments, with_levers
from harness.targets import resolve_target
from harness.tasks.base import AGENTS, ScriptedAgent, TaskError
from harness.tasks.registry import find_task
from profiler.causes.cases import Cases
from profiler.dispatch_records import Actor, DispatchRecord, RunFidelity
from profiler.dispatch_store import DispatchWriter
from profiler.ledger import Ledger
from profiler.machine import machine, versions
from profiler.measure import clock_of
from profiler.probe import probe
from profiler.records import Failure, RunInfo
from profiler.residency.records import ResidencySample
from profiler.run_names import new_run_id
from profiler.store import RunWriter

__all__ = ["RunOrder", "run_task"]


class RunOrder(msgspec.Struct, frozen=True):
    """What `dyno run` was asked to do."""

    task: str
    target: str | None
    harness: str
    levers: tuple[str, ...]
    agent: str | None
    rehearse: bool
    seed: int
    readable: tuple[Path, ...]
    writable: tuple[Path, ...]
    agent_env: tuple[str, ...]
    agent_files: tuple[str, ...]
    no_sandbox: bool
    runs: Path
    json_output: bool


def run_task(asked: RunOrder) -> bool:
    """Run the dispatch, store and report it; whether its work passed.

    Raises:
        TaskError, SettingError, AgentError, TargetError: something that was named cannot be used.
        SandboxError: nothing here confines commands.
        EngineError: the engine could not be started, or went away; what was done is stored and reported first.
        KeyboardInterrupt: likewise after Ctrl-C.
    """
    setting = with_levers(find_setting(asked.harness), parse_assignments(asked.levers))
    name = name_of(asked.harness) + "".join(f" {text}" for text in asked.levers)
    task = find_task(asked.task).name
    order = _order(asked, task, setting, name)
    check_order(order)
    target = _target(asked, setting, order)
    sandbox, capabilities = choose(allow_none=asked.no_sandbox)
    with gpus_of() as gpus, _opened(target) as engine:
        info = _info(asked, order, target, engine, capabilities)
        writer = RunWriter.create(asked.runs, info)
        dispatches = DispatchWriter(writer.path)
        peaks = _Peaks()
        record: DispatchRecord | None = None
        try:
            ledger = Ledger()
            if engine is not None and not isinstance(engine, KeepsTime):
                writer.describe(msgspec.structs.replace(info, probe=probe(engine, ledger, secrets.token_hex(8))))
            load_log = engine.load_log() if isinstance(engine, LogsLoad) else ""
            writer.load_log(load_log)
            site = Site(
                writer=writer,
                dispatches=dispatches,
                sandbox=sandbox,
                capabilities=capabilities,
                target=str(target) if target else None,
                cases=Cases(info.facts, load_log),
                clock=clock_of(engine) if engine else time.perf_counter_ns,
                context_tokens=info.facts.context_tokens,
                peak_memory_bytes=peaks.between,
            )
            watching = watched(engine, writer, gpus(info.facts), on_memory=peaks.take) if engine else nullcontext()
            with watching, live_dispatch(peaks.last) as live:
                work = _work(asked, order, site, engine, ledger)
                record = run_dispatch(order, site, work, on_turn=live.turn, on_started=live.started)
        except KeyboardInterrupt:
            writer.close("interrupted")
            raise
        except Exception as error:
            writer.close("failed", Failure(type(error).__name__, str(error)))
            raise
        else:
            writer.close("complete")
        finally:
            dispatches.close()
            print_dispatches(writer.path, json_output=asked.json_output)
    if record.exit_status == "infra_fault":
        why = record.error.message if record.error else "the engine failed"
        raise EngineDied(f"the dispatch was ended by a fault: {why}", hint="its outcome does not count; run it again")
    return record.outcome.verified == "pass"


def _order(asked: RunOrder, task: str, setting: Setting, setting_name: str) -> Order:
    agent = asked.agent or ("oracle" if asked.rehearse else "model")
    scripted = _scripted(agent)
    if scripted is not None:
        if asked.target is not None and not asked.rehearse:
            hint = f"add --rehearse to force its steps on the engine, or leave --target out to play {agent} without one"
            raise TaskError(f"the scripted agent {agent} asks no engine", hint)
        fidelity: RunFidelity = "rehearse" if asked.rehearse else "no_engine"
        return Order(task, asked.seed, setting, setting_name, scripted, scripted, fidelity)
    if asked.rehearse:
        raise TaskError(f"{agent!r} cannot be rehearsed", f"scripted agents can: {', '.join(AGENTS)}")
    actor: Actor = "model" if agent == "model" else "external"
    if actor == "external":
        program_of(_external(asked))
    return Order(task, asked.seed, setting, setting_name, actor, "built-in" if actor == "model" else agent, "dispatch")


def _target(asked: RunOrder, setting: Setting, order: Order) -> Target | None:
    """The engine's target with what the setting changes of it."""
    if order.fidelity == "no_engine":
        return None
    if asked.target is None:
        hint = "for example --target tiny, the bundled model; dyno targets lists those that have a name"
        raise TargetError("no engine was named", hint=hint)
    target = resolve_target(asked.target)
    changed = {key: _option(value) for key, value in setting.target.items()}
    return msgspec.structs.replace(target, options={**target.options, **changed})


def _option(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def _opened(target: Target | None) -> Generator[Engine | None]:
    if target is None:
        yield None
        return
    with closing(open_engine(target)) as engine:
        yield engine


def _work(asked: RunOrder, order: Order, site: Site, engine: Engine | None, ledger: Ledger) -> Work:
    scripted = _scripted(order.actor)
    if engine is None or scripted is not None:
        assert scripted is not None, "only a scripted agent works without an engine"
        if engine is None:
            return script_work(scripted, site.clock)
        return forced_work(scripted, Sender(engine, fidelity="rehearse", ledger=ledger), site.clock)
    sender = Sender(engine, fidelity="dispatch", ledger=ledger)
    if order.actor == "external":
        agent = msgspec.structs.replace(
            _external(asked), model=sender.facts.model or "", wall_s=order.setting.limits.wall_s
        )
        return external_work(agent, sender, site.dispatches, site.clock)
    return model_work(sender, site.clock)


def _external(asked: RunOrder) -> ExternalAgent:
    """The command with its environment and files.

    Raises:
        AgentError: an `--agent-env` or `--agent-file` without `=`, or a template that cannot be read.
    """
    form = "PATH=TEMPLATE, for example .config/agent.json=agent.json"
    files = dict(_pair("--agent-file", text, form) for text in asked.agent_files)
    return ExternalAgent(
        asked.agent or "",
        env=dict(_pair("--agent-env", text, "NAME=VALUE") for text in asked.agent_env),
        files={path: _template(Path(file)) for path, file in files.items()},
        readable=asked.readable,
        writable=asked.writable,
    )


def _pair(option: str, text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise AgentError(f"{option} {text!r} has no =", hint=f"write {option} {form}")
    return name, value


def _template(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentError(f"the agent's file {file} cannot be read ({error})", hint="name a text file") from error


def _scripted(agent: str) -> ScriptedAgent | None:
    return next((one for one in AGENTS if one == agent), None)


def _info(
    asked: RunOrder, order: Order, target: Target | None, engine: Engine | None, capabilities: Capabilities
) -> RunInfo:
    settings = {
        "task": order.task,
        "seed": order.seed,
        "setting": order.setting_name,
        "levers": dict(levers(order.setting)),
        "agent": order.agent,
        "fidelity": order.fidelity,
        "sandbox": msgspec.to_builtins(capabilities),
    }
    if engine is not None:
        return run_info("run", str(target), engine, settings, time.time_ns())
    now = time.time_ns()
    return RunInfo(new_run_id(now), "run", now, "none", Facts("none"), machine(), versions(), settings)


class _Peaks:
    """The engine's memory as it was sampled."""

    def __init__(self) -> None:
        self._sizes: list[tuple[int, int]] = []

    def take(self, sample: ResidencySample) -> None:
        size = sample.must_have_bytes
        if sample.processes and size is not None:
            self._sizes.append((sample.at_ns, size))

    def last(self) -> int | None:
        return self._sizes[-1][1] if self._sizes else None

    def between(self, start_ns: int, end_ns: int) -> int | None:
        return max((size for at_ns, size in self._sizes if start_ns <= at_ns <= end_ns), default=None)
