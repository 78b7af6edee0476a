"""The plan of a tuning from what was typed, all of it resolved and checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from backends import load
from backends.base import TargetError
from backends.options import convert_options
from harness.cli.ab_stand import arm_order, arm_target
from harness.dispatch import check_order
from harness.experiment.outlook import earlier_s
from harness.experiment.plan import Arm, Plan, PlanError, PlannedTask
from harness.experiment.plan_words import checked, tasks_of_words
from harness.settings import Setting, find_setting, name_of
from harness.targets import resolve_target
from harness.tasks.registry import list_packs
from harness.tune.plan import CURRENT, Stage, TunePlan, check_tasks
from harness.tune.plan_files import TuneFile, read_tuning, tuning_named
from harness.tune.rules import Rules, excluded_by_words, read_rules, text_of
from harness.tune.space import Space, make_space, parse_vary

__all__ = ["TuneAsked", "experiment_of", "plan_of"]


class TuneAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What `dyno tune` was asked to do; `None`: as the plan says, or by default."""

    what: str
    vary: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    tasks: str | None = None
    held_out: str | None = None
    target: str | None = None
    agent: str | None = None
    rehearse: bool = False
    budget_min: float | None = None
    primary: str | None = None
    guards: tuple[str, ...] | None = None
    margin: float | None = None
    seed: int | None = None
    pauses: int | None = None
    name: str | None = None
    simulated: bool = True
    runs: Path = Path("runs")


def plan_of(asked: TuneAsked) -> tuple[TunePlan, tuple[str, ...]]:
    """The plan, and what is to be known of it beforehand.

    Raises:
        PlanError, SettingError, TaskError, TargetError, AgentError: something that was named cannot be used.
    """
    file, title = _file(asked)
    setting_name = file.setting
    space = _space(asked, file, find_setting(setting_name), name_of(setting_name))
    tasks = tasks_of_words(file.tasks, file.task_seed)
    held_out = tasks_of_words(file.held_out or _held_out(tasks), file.task_seed)
    plan = TunePlan(
        title=title or f"{len(space.levers)} levers around {space.setting_name}",
        name=file.name,
        space=space,
        tasks=tasks,
        held_out=held_out,
        target=file.target,
        agent=file.agent,
        fidelity=file.fidelity,
        budget_s=file.budget_min * 60,
        primary=file.primary,
        guards=file.guards,
        margin=file.margin,
        guard_margin=file.guard_margin,
        seed=file.seed,
        task_seed=file.task_seed,
        pauses=file.pauses,
        simulated=asked.simulated,
    )
    check_tasks(plan)
    _ = plan.declared
    plan, notes = _simulable(plan)
    _check_dispatchable(plan)
    return msgspec.structs.replace(plan, known_s=_known_s(asked.runs, plan)), notes


def experiment_of(plan: TunePlan, stage: Stage) -> Plan:
    """A stage as the plan of an experiment, the current setting's arm first if it runs."""
    space = plan.space
    simulated = stage.fidelity == "simulate"
    arms = tuple(
        Arm(
            space.label(point),
            space.setting_of(point),
            f"{space.setting_name} {space.label(point)}" if point != space.current else space.setting_name,
            plan.target,
            plan.agent if stage.fidelity == "dispatch" else None,
        )
        for point in stage.points
    )
    known = {task.name: task for task in (*plan.tasks, *plan.held_out)}
    return Plan(
        title=f"{plan.title}: {stage.name}",
        arms=arms,
        tasks=tuple(known[name] for name in stage.tasks),
        blocks=stage.blocks,
        seed=plan.seed,
        task_seed=plan.task_seed,
        fidelity=stage.fidelity,
        primary="evaluated_tokens" if simulated else plan.primary,
        guards=() if simulated else plan.guards,
        margin=plan.margin,
        guard_margin=plan.guard_margin,
        pauses=plan.pauses,
    )


def _file(asked: TuneAsked) -> tuple[TuneFile, str]:
    """The plan's file, or one as it would be, with what was typed in place of what it says."""
    path = tuning_named(asked.what)
    file = read_tuning(path) if path is not None else TuneFile(setting=asked.what)
    typed: dict[str, object] = {
        "tasks": tuple(_split(asked.tasks)) or None,
        "held_out": tuple(_split(asked.held_out)) or None,
        "target": asked.target,
        "agent": asked.agent,
        "fidelity": "rehearse" if asked.rehearse else None,
        "budget_min": asked.budget_min,
        "primary": asked.primary,
        "guards": asked.guards,
        "margin": asked.margin,
        "seed": asked.seed,
        "pauses": asked.pauses,
        "name": asked.name,
    }
    changes = {key: value for key, value in typed.items() if value is not None}
    return msgspec.structs.replace(file, **changes), file.title or (path.stem if path is not None else "")


def _space(asked: TuneAsked, file: TuneFile, setting: Setting, name: str) -> Space:
    if file.target is None:
        raise TargetError("no engine was named", hint="for example --target tiny; dyno targets lists those with a name")
    target = resolve_target(file.target)
    vary = {key: tuple(map(text_of, levels)) for key, levels in file.vary.items()} | parse_vary(asked.vary)
    options = load(target.engine).Options
    rules = read_rules().with_more(Rules(file.inert, file.impossible, file.cost_only))
    rules = rules.with_more(Rules(impossible=tuple(map(excluded_by_words, asked.exclude))))

    def check(changed: Setting) -> None:
        given = {key: text_of(value) for key, value in changed.target.items()}
        convert_options({**target.options, **given}, options, target.engine)

    return make_space(setting, name, vary, rules, target_options=target.options, check=check)


def _held_out(tasks: Sequence[PlannedTask]) -> tuple[str, ...]:
    """The held-out tasks of the packs that are tuned on."""
    packs = {pack.id: pack for pack in list_packs()}
    used = dict.fromkeys(task.name.partition("/")[0] for task in tasks)
    found = [f"{name}/{one}" for name in used if name in packs for one in packs[name].held_out]
    if not found:
        hint = "name some with --held-out: what was chosen on tasks looks better on them than it is"
        raise PlanError("none of these tasks' packs has a held-out task to confirm on", hint=hint)
    return tuple(found)


def _simulable(plan: TunePlan) -> tuple[TunePlan, tuple[str, ...]]:
    """The plan without its simulation, where no policy models the engine."""
    if not plan.simulated:
        return plan, ()
    stage = Stage("02-simulate", "simulate", (plan.space.current,), (plan.tasks[0].name,))
    made = experiment_of(plan, stage)
    try:
        arm_target(made, made.arms[0])
    except TargetError as error:
        return msgspec.structs.replace(plan, simulated=False), (f"nothing is simulated: {error}",)
    return plan, ()


def _check_dispatchable(plan: TunePlan) -> None:
    """That every level of every lever can be dispatched on every task, one lever at a time."""
    space = plan.space
    points = dict.fromkeys((space.current,))
    for place, lever in enumerate(space.levers):
        for level in lever.levels:
            points.setdefault((*space.current[:place], level, *space.current[place + 1 :]))
    every = tuple(task.name for task in (*plan.tasks, *plan.held_out))
    for fidelity in dict.fromkeys(("rehearse", plan.fidelity)):
        made = experiment_of(plan, Stage("check", fidelity, tuple(points), every))
        checked(made)
        for arm in made.arms:
            _, order = arm_order(made, arm, made.tasks[0].name)
            check_order(order)
            arm_target(made, arm)


def _known_s(runs: Path, plan: TunePlan) -> dict[str, float]:
    """What a dispatch took in earlier experiments, by fidelity."""
    found: dict[str, float] = {}
    for fidelity in dict.fromkeys(("rehearse", plan.fidelity)):
        stage = Stage(CURRENT, fidelity, (plan.space.current,), tuple(task.name for task in plan.tasks))
        earlier = earlier_s(runs, experiment_of(plan, stage))
        if earlier is not None:
            found[fidelity] = earlier.seconds
    return found


def _split(words: str | None) -> list[str]:
    return [word.strip() for word in (words or "").split(",") if word.strip()]
