"""Who is to do a dispatch, on which engine: what was asked for as an order, a target and a work. Starts nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec

from backends.base import Target, TargetError
from harness.agent.work import forced_work, model_work, script_work
from harness.diary import Site
from harness.dispatch import Order, Work
from harness.external.command import AgentError, ExternalAgent, program_of
from harness.external.work import external_work
from harness.sending import Sender
from harness.settings import Setting
from harness.targets import resolve_target
from harness.tasks.base import AGENTS, ScriptedAgent, TaskError
from profiler.dispatch_records import Actor, RunFidelity

__all__ = ["WorkAsked", "order_of", "target_of", "work_of"]


class WorkAsked(msgspec.Struct, frozen=True, kw_only=True):
    """The agent and the engine as they were typed; `agent` is a scripted one, or the command of another."""

    target: str | None = None
    agent: str | None = None
    rehearse: bool = False
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    agent_env: tuple[str, ...] = ()
    agent_files: tuple[str, ...] = ()


def order_of(asked: WorkAsked, task: str, seed: int, setting: Setting, setting_name: str) -> Order:
    """The order of one dispatch.

    Raises:
        TaskError: the agent cannot do it so.
        AgentError: the command of another agent cannot be used.
    """
    agent = asked.agent or ("oracle" if asked.rehearse else "model")
    scripted = _scripted(agent)
    if scripted is not None:
        if asked.target is not None and not asked.rehearse:
            hint = f"add --rehearse to force its steps on the engine, or leave --target out to play {agent} without one"
            raise TaskError(f"the scripted agent {agent} asks no engine", hint)
        fidelity: RunFidelity = "rehearse" if asked.rehearse else "no_engine"
        return Order(task, seed, setting, setting_name, scripted, scripted, fidelity)
    if asked.rehearse:
        raise TaskError(f"{agent!r} cannot be rehearsed", f"scripted agents can: {', '.join(AGENTS)}")
    actor: Actor = "model" if agent == "model" else "external"
    if actor == "external":
        program_of(_external(asked))
    return Order(task, seed, setting, setting_name, actor, "built-in" if actor == "model" else agent, "dispatch")


def target_of(asked: WorkAsked, setting: Setting, order: Order) -> Target | None:
    """The engine's target with what the setting changes of it; `None` where no engine is asked. Raises TargetError."""
    if order.fidelity == "no_engine":
        return None
    if asked.target is None:
        hint = "for example --target tiny, the bundled model; dyno targets lists those that have a name"
        raise TargetError("no engine was named", hint=hint)
    target = resolve_target(asked.target)
    changed = {key: _option(value) for key, value in setting.target.items()}
    return msgspec.structs.replace(target, options={**target.options, **changed})


def work_of(asked: WorkAsked, order: Order, site: Site, sender: Sender | None, compactor: Sender | None = None) -> Work:
    """What does the work of an order; without a `sender` a script alone. `compactor` writes its summaries, if another
    engine is to. Raises AgentError.
    """
    scripted = _scripted(order.actor)
    if sender is None or scripted is not None:
        assert scripted is not None, "only a scripted agent works without an engine"
        return (
            script_work(scripted, site.clock)
            if sender is None
            else forced_work(scripted, sender, site.clock, compactor)
        )
    if order.actor == "external":
        agent = msgspec.structs.replace(
            _external(asked), model=sender.facts.model or "", wall_s=order.setting.limits.wall_s
        )
        return external_work(agent, sender, site.dispatches, site.clock)
    return model_work(sender, site.clock, compactor)


def _option(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _external(asked: WorkAsked) -> ExternalAgent:
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
