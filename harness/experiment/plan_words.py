"""Arms and tasks as they are typed: `focused`, `plain,skills.bytes=0@tiny`; `debug`, `testgap:2`, `debug/todo-1`.

Finds settings and tasks and checks that all of them can be dispatched; starts nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.experiment.observations import SIMULATED
from harness.experiment.plan import Arm, Plan, PlanError, PlannedTask
from harness.personas import find_persona
from harness.settings import find_setting, name_of, parse_assignments, with_levers
from harness.skills import skill_text
from harness.tasks.base import AGENTS
from harness.tasks.registry import Pack, find_task, instruction, list_packs, materialise, trajectory

__all__ = ["arm_named", "arm_of_word", "checked", "tasks_of_words"]


def arm_of_word(word: str, target: str | None, agent: str | None) -> Arm:
    """The arm of `SETTING[,LEVER=VALUE…][@TARGET]`; what it leaves out is `target` and `agent`.

    Raises:
        SettingError: no such setting or lever, or a value that it cannot have.
    """
    rest, at, own_target = word.partition("@")
    setting, *levers = rest.split(",")
    return arm_named(word, setting, parse_assignments(levers), own_target if at else target, agent)


def arm_named(name: str, setting: str, levers: Mapping[str, object], target: str | None, agent: str | None) -> Arm:
    """An arm of a setting with some levers changed.

    Raises:
        SettingError: no such setting or lever, or a value that it cannot have.
    """
    changed = with_levers(find_setting(setting), levers)
    called = name_of(setting) + "".join(f" {key}={_typed(value)}" for key, value in levers.items())
    return Arm(name, changed, called, target, agent)


def tasks_of_words(words: Sequence[str], seed: int) -> tuple[PlannedTask, ...]:
    """Tasks by name, with their hashes: a pack (those that are not held out), `pack:N` (its first N), or one task.

    Raises:
        TaskError: nothing has such a name, or a generator fails.
        PlanError: a pack has not so many, or a task is named twice.
    """
    names = [name for word in words for name in _named(word)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PlanError(f"the task {twice} is named twice", hint="--blocks repeats all of them")
    if not names:
        raise PlanError("no task is named", hint="for example --tasks testgap,debug; `dyno tasks` lists them")
    return tuple(_planned(name, seed) for name in names)


def checked(plan: Plan) -> Plan:
    """The plan, if all of it can be dispatched.

    Raises:
        PlanError: fewer than two arms, two of one name, a scope that a task does not have, or a metric that a
            simulation does not tell.
        TaskError, SettingError: a scope, a persona or the skills cannot be had.
    """
    names = [arm.name for arm in plan.arms]
    if len(names) < 2:
        raise PlanError("a comparison needs two arms", hint="name two settings, or a plan: dyno ab focused bloated")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PlanError(f"two arms are named {twice}", hint="dyno aa compares an arm with itself")
    if plan.fidelity == "simulate":
        _check_simulated(plan)
    for arm in plan.arms:
        find_persona(arm.setting.task.persona)
    with tempfile.TemporaryDirectory(prefix="dyno-plan-") as place:
        for number, planned in enumerate(plan.tasks):
            task = materialise(planned.name, plan.task_seed, Path(place) / str(number))
            for arm in plan.arms:
                scope = arm.setting.task.scope
                skill_text(arm.setting.skills, task.pack)
                instruction(task, scope)
                for scripted in AGENTS:
                    if scripted == arm.agent:
                        trajectory(task, scripted, scope)
    return plan


def _check_simulated(plan: Plan) -> None:
    for name in (plan.primary, *plan.guards):
        if name not in (*SIMULATED, "success", "score"):
            hint = f"metrics of a simulation: {', '.join(SIMULATED)}"
            raise PlanError(f"a simulation tells no {name}: no engine evaluates anything", hint=hint)
    if plan.cache == "cold":
        raise PlanError("a simulation has no cold engine", hint="--cache warm-within begins with an empty cache")


def _typed(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _named(word: str) -> list[str]:
    packs = {pack.id: pack for pack in list_packs()}
    head, colon, number = word.partition(":")
    if head in packs and (colon or head == word):
        return _first(packs[head], number if colon else None)
    found = find_task(word)
    return [str(found.folder.resolve()) if found.folder else found.name]


def _first(pack: Pack, number: str | None) -> list[str]:
    names = [f"{pack.id}/{instance}" for instance in pack.instances if instance not in pack.held_out]
    if number is None:
        return names
    if not number.isdecimal() or not 1 <= int(number) <= len(names):
        raise PlanError(
            f"{pack.id}:{number} is no number of tasks", hint=f"{pack.id} has {len(names)} that are not held out"
        )
    return names[: int(number)]


def _planned(name: str, seed: int) -> PlannedTask:
    with tempfile.TemporaryDirectory(prefix="dyno-plan-") as place:
        task = materialise(name, seed, Path(place) / "task")
    return PlannedTask(name, task.sha256, task.agent_timeout_s)
