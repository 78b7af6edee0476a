"""An experiment from what was typed to its report: plan, say what it costs, go through it. Behind `dyno ab`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Literal

import msgspec

from harness.cli.ab_simulated import USUAL
from harness.cli.ab_stand import Stand, arm_order, arm_target
from harness.dispatch import check_order
from harness.experiment.at_work import working_on
from harness.experiment.blocks import cells_of
from harness.experiment.document import declaration_of, document_of, planned_detectable
from harness.experiment.outlook import earlier_s, unshowable_guard
from harness.experiment.plan import FEWEST_TASKS, CacheState, ExperimentFidelity, Plan, PlanError
from harness.experiment.plan_files import SIMULATE, is_plan, read_plan
from harness.experiment.plan_words import arm_of_word, checked, tasks_of_words
from harness.experiment.pricing import told_of
from harness.experiment.running import ATTEMPTS, Progress, go_through, is_fault, still_to_do
from harness.experiment.stopping import Stopper, alpha_of, check_stopping
from harness.experiment.store import Experiment, create, find_experiment, read_experiment
from harness.sandbox.choice import choose
from harness.stats import least_wins
from profiler.report.ab import print_ab
from profiler.report.figures import seconds
from profiler.run_names import new_run_id

__all__ = ["AbAsked", "run_ab"]

_OF_A_PLAN = ("blocks", "seed", "cache", "primary", "margin", "pauses", "stop_early")
"""What may be typed and is a field of a plan as it stands."""


class AbAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What `dyno ab` or `dyno aa` was asked to do; `None`: as the plan says, or by default. `short`: not all of the
    report is printed.
    """

    command: Literal["ab", "aa"]
    words: tuple[str, ...]
    tasks: str | None
    target: str | None
    agent: str | None
    rehearse: bool
    simulate: bool
    blocks: int | None
    seed: int | None
    cache: CacheState | None
    primary: str | None
    margin: float | None
    pauses: int | None
    stop_early: bool | None
    resume: str | None
    plan_only: bool
    no_sandbox: bool
    runs: Path
    json_output: bool
    short: bool = False


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
            print_ab(document_of(stored, told_of(stored)), json_output=asked.json_output, short=asked.short)


def _go_on(asked: AbAsked, path: Path) -> None:
    stored = read_experiment(path)
    plan = stored.experiment.plan
    cells, stopper = cells_of(plan), Stopper(stored)
    todo = [one for one in still_to_do(cells, stored.done) if stopper.wanted(one.cell)]
    if not todo:
        return
    of = sum(map(stopper.wanted, cells))
    sandbox, capabilities = choose(allow_none=asked.no_sandbox)
    with working_on(path), Stand(stored, sandbox, capabilities) as stand:
        warm_s = stand.warm_up(todo[0].cell)
        about = f"{seconds(warm_s)}, so that {len(todo)} take about {_minutes(warm_s * len(todo))}"
        print(f"warm-up dispatch, which does not count: {about}", file=sys.stderr, flush=True)
        go_through(todo, stand.perform, of=of, on_done=_Teller(stopper).tell, wanted=stopper.wanted)


def _plan(asked: AbAsked) -> Plan:
    """The plan that was typed. Raises PlanError, SettingError, TaskError, TargetError, AgentError."""
    if len(asked.words) == 1 and asked.command == "ab" and is_plan(asked.words[0]):
        plan = read_plan(asked.words[0], _changes(asked))
    else:
        plan = _typed(asked)
    checked(plan)
    declaration_of(plan)
    check_stopping(plan)
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
    plan = Plan(" against ".join(arm.name for arm in arms), tuple(arms), (), fidelity=_fidelity(asked) or "dispatch")
    if plan.fidelity == "simulate":
        plan = msgspec.structs.replace(plan, **SIMULATE)
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
        "stop_early": asked.stop_early,
        "fidelity": _fidelity(asked),
    }
    return {key: value for key, value in typed.items() if value is not None}


def _fidelity(asked: AbAsked) -> ExperimentFidelity | None:
    if asked.simulate and asked.rehearse:
        raise PlanError("--simulate and --rehearse exclude each other", hint="--rehearse needs an engine")
    return "simulate" if asked.simulate else "rehearse" if asked.rehearse else None


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
    number = f"{len(plan.tasks)} task{'s' if len(plan.tasks) > 1 else ''}"
    tasks = f"{number} × {blocks} × {len(plan.arms)} arms = {plan.dispatches} dispatches"
    lines.append(f"{tasks}, {plan.fidelity}, cache {plan.cache}, order by seed {plan.seed}")
    lines.append(f"primary metric {plan.primary} (equivalent within {plan.margin:g}){_guards(plan)}")
    lines += [_power(plan), *_guard_outlook(plan)]
    if len(plan.tasks) < FEWEST_TASKS:
        lines.append(f"fewer than {FEWEST_TASKS} tasks: a verdict on these tasks says little of others")
    known = earlier_s(asked.runs, plan)
    lines.append(
        f"it takes about {_minutes(known.seconds * plan.dispatches)}, by {known.dispatches} earlier dispatches"
        if known
        else "what it takes is told after the warm-up dispatch"
    )
    print("\n".join(lines), file=sys.stderr, flush=True)


def _guards(plan: Plan) -> str:
    if plan.fidelity == "rehearse" and "success" in plan.guards:
        return "; success is scripted in a rehearsal"
    return f", guards {', '.join(plan.guards)}" if plan.guards else ""


def _power(plan: Plan) -> str:
    least, pairs = check_stopping(plan), len(plan.tasks) * plan.blocks
    if least is not None:
        in_a_row = next(n for n in range(1, pairs + 1) if least_wins(n, alpha_of(plan)) is not None)
        says = (
            f"looked at after every pair: an arm is run no more once it is decided, after {in_a_row} pairs at the least"
        )
        return f"{says}; at the end it takes {least} of {pairs}"
    found = planned_detectable(plan)
    effect = "nothing at all" if found is None else f"a change of {1 - found:.0%} or more".replace("%", " %")
    return f"it can detect {effect} (4 times in 5, at the spread of other experiments; dyno aa measures yours)"


def _guard_outlook(plan: Plan) -> list[str]:
    """That a guard cannot be shown with this plan: better known before than read of afterwards."""
    if plan.fidelity == "rehearse":
        return []  # Success is scripted: no number of pairs would show anything of it.
    found = unshowable_guard(plan)
    if found is None:
        return []
    points = f"{plan.guard_margin * 100:.3g} points"
    more = f"{found.needed} ({found.blocks} blocks, or {found.tasks} tasks)"
    cannot = f"{found.pairs} pairs cannot show that {found.name} falls by no more than {points}, even if nothing fails"
    return [f"{cannot}: that takes {more}; a larger fall that is seen still forbids «better»"]


def _about(plan: Plan, number: int) -> str:
    arm = plan.arms[number]
    agent = arm.agent or ("built-in agent" if plan.fidelity == "dispatch" else "oracle")
    engine = arm.target or ("no engine" if plan.fidelity == "dispatch" else USUAL.rstrip(":"))
    engine = f"the cache of {engine}, modelled" if plan.fidelity == "simulate" else engine
    return f"{arm.name}: setting {arm.setting_name} · {engine} · {agent}"


def _minutes(duration_s: float) -> str:
    return f"{duration_s / 60:.0f} min" if duration_s >= 90 else f"{duration_s:.0f} s"


class _Teller:
    """Tells of every dispatch that has ended, and about how long the rest will take."""

    def __init__(self, stopper: Stopper) -> None:
        self._began = time.monotonic()
        self._stopper, self._seen = stopper, 0

    def tell(self, progress: Progress) -> None:
        """A line on standard error; and one for each arm that it decided, where the plan looks for that."""
        self._tell(progress)
        for one in self._stopper.saw(progress):
            word = "better" if one.better else "worse"
            lines = (
                f"{one.treatment} is decided after {one.pairs} pairs, for the {word}: {one.won} won, {one.lost} lost"
            )
            print(f"{lines}; it is run no more", file=sys.stderr, flush=True)

    def _tell(self, progress: Progress) -> None:
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
