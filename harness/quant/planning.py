"""From what was typed to a plan: what is wanted, the candidates, and how much of each is measured. Loads no weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from backends.base import MissingExtra
from harness.experiment.plan import PlanError
from harness.experiment.plan_words import tasks_of_words
from harness.quant.base import Predicted, Wanted
from harness.quant.candidates import Choice, candidates_of, models_of
from harness.quant.cost import AMOUNTS, BUDGET_S, Costs, fitting_amount, session_tokens, speed_of
from harness.quant.engines import check_engine
from harness.quant.plan import Amount, Fidelity, QuantPlan, steps_of
from harness.run_sessions import demo_sessions
from harness.sessions import Session
from harness.target_checks import check_target
from profiler.model_file import read_model
from profiler.model_file.base import ModelFile

__all__ = [
    "QuantAsked",
    "choice_of",
    "costs_of",
    "duration_of",
    "planned",
    "same_files",
    "sessions_of_plan",
    "size_of",
    "wanted_of",
]

DEFAULT_CONTEXT_TOKENS: Final = 32768
BY_POSITION: Final = 0.5
"""Of the chunks, where each position is a request: enough to see damage, and no noise floor."""
_SIZE: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)i?B?", re.IGNORECASE)
_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|m|min|h)?", re.IGNORECASE)
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600}


class QuantAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What `dyno quant` was asked to do; `None`: by default."""

    files: tuple[Path, ...]
    context: int | None = None
    slots: int = 1
    memory: str | None = None
    min_decode: float | None = None
    kv: tuple[str, ...] = ("f16",)
    reference: Path | None = None
    predict_only: bool = False
    explain: bool = False
    machine: str | None = None
    tasks: str | None = None
    sessions: tuple[str, ...] = ()
    fidelity: Fidelity = "dispatch"
    repeats: int | None = None
    budget: str | None = None
    seed: int = 0
    engine: str | None = None
    options: tuple[str, ...] = ()
    resume: str | None = None
    plan_only: bool = False
    no_sandbox: bool = False
    runs: Path = Path("runs")
    chart: Path | None = None
    json_output: bool = False


def size_of(text: str) -> int:
    """Bytes of a size as it is typed: `20G` is 20 × 2^30, `512M`, or plain bytes.

    Raises:
        PlanError: it is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or not float(found["number"]):
        raise PlanError(f"{text!r} is no size of memory", hint="write 20G, 512M, or bytes")
    return round(float(found["number"]) * (1 << _UNITS[found["unit"].upper()]))


def duration_of(text: str) -> float:
    """Seconds of a duration as it is typed: `60s`, `10m`, `1.5h`, or plain seconds.

    Raises:
        PlanError: it is no duration.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not float(found["number"]):
        raise PlanError(f"{text!r} is no duration", hint="write 60s, 10m, 2h, or seconds")
    return float(found["number"]) * _SECONDS[(found["unit"] or "s").lower()]


def choice_of(asked: QuantAsked) -> tuple[Choice, Wanted]:
    """The candidates, and what is wanted of them.

    Raises:
        PlanError, ModelFileError, MissingExtra: see `candidates`.
        TargetError: no such engine, or a launch setting that it does not have.
    """
    if asked.budget is not None:
        duration_of(asked.budget)
    models = models_of(asked.files)
    wanted = wanted_of(asked, models)
    reference = read_model(asked.reference) if asked.reference is not None else None
    options = dict(_option(text) for text in asked.options)
    choice = candidates_of(
        models,
        asked.kv,
        wanted,
        engine=asked.engine,
        options=options,
        reference=reference,
        installed=not asked.predict_only,
    )
    for one in choice.all:
        try:
            check_target(one.target)
        except MissingExtra:
            # What an engine that is not installed would take can be told all the same.
            if not asked.predict_only:
                raise
        check_engine(one.target.engine, one.model)
    return choice, wanted


def wanted_of(asked: QuantAsked, models: Sequence[ModelFile]) -> Wanted:
    """What the user needs of these models. Raises PlanError."""
    known = [model.context_tokens for model in models if model.context_tokens]
    context = asked.context or min([DEFAULT_CONTEXT_TOKENS, *known])
    if known and context > min(known):
        raise PlanError(
            f"the model has {min(known):,} tokens of context, --context asks for {context:,}",
            hint=f"--context {min(known)}, or less",
        )
    memory = size_of(asked.memory) if asked.memory is not None else None
    return Wanted(context, asked.slots, memory, asked.min_decode)


def planned(
    asked: QuantAsked,
    choice: Choice,
    wanted: Wanted,
    predicted: dict[str, Predicted],
    own: tuple[Session, ...],
    *,
    scores: bool,
    by_position: bool = False,
) -> QuantPlan:
    """The plan: as much as fits into the budget, but for what was typed. `own` are the sessions that were named.

    `scores`: the quality can be measured here; `by_position`: at one position after the other.

    Raises:
        PlanError, TaskError: the tasks cannot be had, or the budget is no duration.
    """
    named = _tasks(asked)
    budget_s = BUDGET_S if asked.budget is None else duration_of(asked.budget)
    plan = QuantPlan(
        wanted=wanted,
        choice=choice,
        amount=AMOUNTS[-1],
        fidelity=asked.fidelity,
        seed=asked.seed,
        machine=asked.machine,
        short_sessions=not own,
        named_sessions=asked.sessions,
        scored_by_position=by_position,
    )
    sessions = {session.name: session for session in own or demo_sessions()}
    for amount in AMOUNTS:
        share = (BY_POSITION if by_position else 1) if scores else 0
        typed = fitting_amount(_typed(amount, asked, named, own, scored=share), wanted, sessions)
        plan = msgspec.structs.replace(plan, amount=typed)
        if costs_of(plan, predicted, sessions_of_plan(plan, own)).total_s(steps_of(plan)) <= budget_s:
            break
    return plan


def costs_of(plan: QuantPlan, predicted: dict[str, Predicted], sessions: tuple[Session, ...]) -> Costs:
    """What each step of a plan takes, roughly."""
    speeds = {one.name: speed_of(one, predicted.get(one.name)) for one in plan.choice.all}
    return Costs(speeds, plan.amount, session_tokens(sessions), plan.scored_by_position)


def sessions_of_plan(plan: QuantPlan, own: tuple[Session, ...]) -> tuple[Session, ...]:
    """The sessions that a plan replays; `own` are those that were named when it was made.

    Raises:
        PlanError: one of them is not there.
    """
    found = {session.name: session for session in (demo_sessions() if plan.short_sessions else own)}
    missing = next((name for name in plan.amount.sessions if name not in found), None)
    if missing is not None:
        raise PlanError(f"the session {missing} is not found here", hint="begin a new comparison")
    return tuple(found[name] for name in plan.amount.sessions)


def same_files(choice: Choice) -> None:
    """Whether the files are still what they were when the comparison was planned.

    Raises:
        PlanError: one has changed.
        ModelFileError: one is gone.
    """
    for model in {one.model.path: one.model for one in choice.all}.values():
        if read_model(model.path) != model:
            raise PlanError(
                f"{model.path} is not what it was when the comparison was planned", hint="begin a new comparison"
            )


def _tasks(asked: QuantAsked) -> tuple[str, ...] | None:
    """The tasks that were named; `None` for the default."""
    if asked.tasks is None:
        return None
    words = [word.strip() for word in asked.tasks.split(",") if word.strip()]
    return () if words == ["none"] else tuple(task.name for task in tasks_of_words(words, 0))


def _typed(
    amount: Amount, asked: QuantAsked, tasks: tuple[str, ...] | None, own: tuple[Session, ...], *, scored: float
) -> Amount:
    return msgspec.structs.replace(
        amount,
        rounds=asked.repeats or amount.rounds,
        task_rounds=asked.repeats or amount.task_rounds,
        tasks=amount.tasks if tasks is None else tasks,
        sessions=tuple(session.name for session in own) or amount.sessions,
        chunks=round(amount.chunks * scored),
    )


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise PlanError(f"--set {text!r} has no value", hint="write --set threads=6")
    return key, value
