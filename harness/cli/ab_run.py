"""An experiment from what was typed to its report: plan, say what it costs, go through it. Behind `dyno ab`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Literal

import msgspec

from harness.cli.ab_stand import Stand, arm_order, arm_target
from harness.dispatch import check_order
from harness.experiment.blocks import cells_of
from harness.experiment.document import declaration_of, document_of, planned_detectable
from harness.experiment.outlook import earlier_s
from harness.experiment.plan import FEWEST_TASKS, CacheState, ExperimentFidelity, Plan, PlanError
from harness.experiment.plan_files import is_plan, read_plan
from harness.experiment.plan_words import arm_of_word, checked, tasks_of_words
from harness.experiment.pricing import lost_seconds
from harness.experiment.running import ATTEMPTS, Progress, go_through, is_fault, still_to_do
from harness.experiment.store import Experiment, create, find_experiment, read_experiment
from harness.sandbox.choice import choose
from profiler.report.ab import print_ab
from profiler.report.figures import seconds
from profiler.run_names import new_run_id

__all__ = ["AbAsked", "run_ab"]

_OF_A_PLAN = ("blocks", "seed", "cache", "primary", "margin", "pauses")
"""What may be typed and is a field of a plan as it stands."""


class AbAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What `dyno ab` or `dyno aa` was asked to do; `None`: as the plan says, or by default."""

    command: Literal["ab", "aa"]
    words: tuple[str, ...]
    tasks: str | None
    target: str | None
    agent: str | None
    rehearse: bool
    blocks: int | None
    seed: int | None
    cache: CacheState | None
    primary: str | None
    margin: float | None
    pauses: int | None
    resume: str | None
    plan_only: bool
    no_sandbox: bool
    runs: Path
    json_output: bool


def run_ab(asked: AbAsked) -> None:
    """Plan the experiment or go on with one, do what is left of it, and report what there is.

    Raises:
        PlanError, TaskError, SettingError, AgentError, TargetError: something that was named cannot be used, or what
            must be equal between arms is not.
        SandboxError: nothing here confines commands.
        EngineError: an engine could not be started, or went away; what was done is stored and reported first.
        KeyboardInterrupt: likewise after Ctrl-C.
    """
    plan = read_experiment(find_experiment(asked.runs, asked.resume)).experiment.plan if asked.resume else _plan(asked)
    if not asked.resume or asked.plan_only:
        _say_plan(asked, plan)
    if asked.plan_only:
        return
    path = find_experiment(asked.runs, asked.resume) if asked.resume else _create(asked, plan)
    print(f"experiment {path.name} in {path}", file=sys.stderr, flush=True)
    try:
        _go_on(asked, path)
    finally:
        stored = read_experiment(path)
        if asked.resume or any(not one.begun.warm_up for one in stored.done):
            print_ab(document_of(stored, lost_seconds(stored)), json_output=asked.json_output)


def _go_on(asked: AbAsked, path: Path) -> None:
    stored = read_experiment(path)
    plan = stored.experiment.plan
    cells = cells_of(plan)
    todo = still_to_do(cells, stored.done)
    if not todo:
        return
    sandbox, capabilities = choose(allow_none=asked.no_sandbox)
    with Stand(stored, sandbox, capabilities) as stand:
        warm_s = stand.warm_up(todo[0].cell)
        about = f"{seconds(warm_s)}, so that {len(todo)} take about {_minutes(warm_s * len(todo))}"
        print(f"warm-up dispatch, which does not count: {about}", file=sys.stderr, flush=True)
        go_through(todo, stand.perform, of=len(cells), on_done=_Teller(len(todo)).tell)


def _plan(asked: AbAsked) -> Plan:
    """The plan that was typed. Raises PlanError, SettingError, TaskError, TargetError, AgentError."""
    if len(asked.words) == 1 and asked.command == "ab" and is_plan(asked.words[0]):
        plan = read_plan(asked.words[0], _changes(asked))
    else:
        plan = _typed(asked)
    checked(plan)
    declaration_of(plan)
    for arm in plan.arms:
        _, order = arm_order(plan, arm, plan.tasks[0].name)
        check_order(order)
        arm_target(plan, arm)
    return plan


def _typed(asked: AbAsked) -> Plan:
    words = asked.words * 2 if asked.command == "aa" else asked.words
    arms = [arm_of_word(word, asked.target, asked.agent) for word in words]
    if asked.command == "aa":
        arms = [msgspec.structs.replace(arm, name=f"{arm.name} {half}") for arm, half in zip(arms, "AB", strict=True)]
    if len(arms) < 2:
        hint = "name two settings, or a plan: dyno ab focused bloated"
        raise PlanError(f"{asked.words[0]!r} alone is no comparison, and no plan has that name", hint=hint)
    fidelity: ExperimentFidelity = "rehearse" if asked.rehearse else "dispatch"
    plan = Plan(" against ".join(arm.name for arm in arms), tuple(arms), (), fidelity=fidelity)
    changes = {key: value for key, value in _changes(asked).items() if key in _OF_A_PLAN}
    tasks = tasks_of_words(_split(asked.tasks), plan.task_seed)
    return msgspec.structs.replace(plan, tasks=tasks, same_twice=asked.command == "aa", **changes)


def _changes(asked: AbAsked) -> dict[str, object]:
    """What was typed of what a plan's file may hold."""
    typed: dict[str, object] = {
        "tasks": _split(asked.tasks) or None,
        "target": asked.target,
        "agent": asked.agent,
        "blocks": asked.blocks,
        "seed": asked.seed,
        "cache": asked.cache,
        "primary": asked.primary,
        "margin": asked.margin,
        "pauses": asked.pauses,
        "fidelity": "rehearse" if asked.rehearse else None,
    }
    return {key: value for key, value in typed.items() if value is not None}


def _split(tasks: str | None) -> list[str]:
    return [word.strip() for word in (tasks or "").split(",") if word.strip()]


def _create(asked: AbAsked, plan: Plan) -> Path:
    now = time.time_ns()  # noqa: TID251 (the date of an experiment)
    return create(asked.runs, Experiment(new_run_id(now), asked.command, now, plan))


def _say_plan(asked: AbAsked, plan: Plan) -> None:
    """Before anything runs: what will be done, what it costs, and what it can find."""
    arms = ", ".join(arm.name for arm in plan.arms)
    lines = [f"{plan.title}: {arms}", *(f"  {_about(plan, number)}" for number in range(len(plan.arms)))]
    blocks = f"{plan.blocks} block{'s' if plan.blocks > 1 else ''}"
    tasks = f"{len(plan.tasks)} tasks × {blocks} × {len(plan.arms)} arms = {plan.dispatches} dispatches"
    lines.append(f"{tasks}, {plan.fidelity}, cache {plan.cache}, order by seed {plan.seed}")
    lines.append(f"primary metric {plan.primary} (equivalent within {plan.margin:g}), guards {', '.join(plan.guards)}")
    found = planned_detectable(plan)
    effect = "nothing at all" if found is None else f"a change of {1 - found:.0%} or more".replace("%", " %")
    lines.append(f"it can detect {effect} (4 times in 5, at the spread of other experiments; dyno aa measures yours)")
    if len(plan.tasks) < FEWEST_TASKS:
        lines.append(f"fewer than {FEWEST_TASKS} tasks: a verdict on these tasks says little of others")
    known = earlier_s(asked.runs, plan)
    cost = (
        f"about {_minutes(known.seconds * plan.dispatches)}, by {known.dispatches} earlier dispatches"
        if known
        else "unknown until the warm-up dispatch was measured"
    )
    lines.append(f"it takes {cost}")
    print("\n".join(lines), file=sys.stderr, flush=True)


def _about(plan: Plan, number: int) -> str:
    arm = plan.arms[number]
    agent = arm.agent or ("oracle" if plan.fidelity == "rehearse" else "built-in agent")
    return f"{arm.name}: setting {arm.setting_name} · {arm.target or 'no engine'} · {agent}"


def _minutes(duration_s: float) -> str:
    return f"{duration_s / 60:.0f} min" if duration_s >= 90 else f"{duration_s:.0f} s"


class _Teller:
    """Tells of every dispatch that has ended, and about how long the rest will take."""

    def __init__(self, todo: int) -> None:
        self._began = time.monotonic()
        self._todo, self._seen = todo, 0

    def tell(self, progress: Progress) -> None:
        """A line on standard error."""
        cell, record = progress.cell, progress.record
        self._seen += 1
        head = f"[{progress.done}/{progress.of}] block {cell.block} · {cell.arm} · {cell.task}:"
        if is_fault(record):
            why = record.error.message if record.error else "the verifier failed"
            again = "repeated" if progress.attempt < ATTEMPTS else "given up"
            print(f"{head} fault ({why}): {again}", file=sys.stderr, flush=True)
            return
        left = progress.of - progress.done
        each_s = (time.monotonic() - self._began) / self._seen
        rest = f" · about {_minutes(each_s * left)} left" if left else ""
        took = seconds(record.totals.wall_ns / 1e9)
        print(f"{head} {record.outcome.verified} {took}{rest}", file=sys.stderr, flush=True)
