"""The built-in agent as the work of a dispatch: a model on an engine, a script forced on one, or a script alone."""

from __future__ import annotations

from collections.abc import Callable

from harness.agent.loop import Finished, Job, run_agent
from harness.agent.model import EngineModel, ForcedModel, Model, ScriptModel
from harness.dispatch import Bench, Work
from harness.sending import Sender
from harness.tasks.base import ScriptedAgent
from harness.tasks.registry import instruction, trajectory
from harness.tools.toolset import make_toolset
from profiler.measure import Clock

__all__ = ["forced_work", "model_work", "script_work"]

MakesModel = Callable[[Bench], Model]


def model_work(sender: Sender, clock: Clock, compactor: Sender | None = None) -> Work:
    """The model decides. `compactor` is the engine that summarises, where it is another one."""

    def summarising(bench: Bench) -> Model | None:
        return EngineModel(compactor, bench.dispatch_id, bench.on_request) if compactor else None

    return _work(
        lambda bench: EngineModel(sender, bench.dispatch_id, bench.on_request),
        clock,
        context_tokens=sender.facts.context_tokens,
        compactor=summarising,
    )


def forced_work(agent: ScriptedAgent, sender: Sender, clock: Clock, compactor: Sender | None = None) -> Work:
    """The steps of a scripted agent are forced on the engine: a rehearsal. So are the summaries of a `compactor`."""

    def summarising(bench: Bench) -> Model | None:
        return ForcedModel(compactor, bench.dispatch_id, bench.on_request, ()) if compactor else None

    return _work(
        lambda bench: ForcedModel(
            sender,
            bench.dispatch_id,
            bench.on_request,
            trajectory(bench.task, agent, bench.setting.task.scope),
        ),
        clock,
        context_tokens=sender.facts.context_tokens,
        compactor=summarising,
    )


def script_work(agent: ScriptedAgent, clock: Clock) -> Work:
    """The steps of a scripted agent, without an engine."""
    return _work(lambda bench: ScriptModel(trajectory(bench.task, agent, bench.setting.task.scope)), clock)


def _work(
    model: MakesModel,
    clock: Clock,
    *,
    context_tokens: int | None = None,
    compactor: Callable[[Bench], Model | None] = lambda _: None,
) -> Work:
    def work(bench: Bench) -> Finished:
        task = bench.task
        return run_agent(
            Job(
                dispatch_id=bench.dispatch_id,
                instruction=instruction(task, bench.setting.task.scope),
                setting=bench.setting,
                model=model(bench),
                clock=clock,
                wall_clock=bench.wall_clock,
                on_turn=bench.on_turn,
                tools=()
                if task.harness.single_shot
                else make_toolset(task, bench.setting, bench.workspace, bench.sandbox, bench.ledger),
                workspace=bench.workspace,
                persona=bench.persona,
                skills=bench.skills,
                compactor=compactor(bench),
                context_tokens=context_tokens,
                wall_s=task.agent_timeout_s,
            )
        )

    return work
