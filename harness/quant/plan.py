"""What a comparison of quants does, step by step, all of it decided before it begins. Pure.

A round takes every candidate once, in an order that is drawn anew, so that what the machine does slowly falls on all of
them. A sitting is one load of one candidate in one round, with the steps that need it; quality needs another load, of
the engine that gives logits, and comes after all rounds, the reference first.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Annotated, Literal

import msgspec

from harness.quant.base import Candidate, Wanted
from harness.quant.candidates import Choice
from harness.quant.depths import DepthPlan

__all__ = ["SCHEMA", "Amount", "Fidelity", "QuantPlan", "Step", "StepKind", "sittings_of", "steps_of"]

SCHEMA = 1
Fidelity = Literal["rehearse", "dispatch"]
StepKind = Literal["load", "rates", "cache", "calls", "task", "quality"]
"""What is measured at once: the load and the memory after it, rates by depth, cache stability on sessions, greedy tool
calls, one dispatch, quality against the reference."""


class Amount(msgspec.Struct, frozen=True):
    """How much is measured. A round is a repeat; `tasks` are done in the first `task_rounds`, with other contents in
    each.

    `sessions` are names of `dyno cache`, `positions` how many recorded tool calls are asked again, `chunks` how many
    pieces of the text of so many tokens are scored; 0 or an empty list leaves that out. The calls are those of the
    scripted agents of `position_tasks`, unless sessions of the user's hold some.
    """

    rounds: Annotated[int, msgspec.Meta(ge=1)]
    depths: DepthPlan
    sessions: tuple[str, ...]
    tasks: tuple[str, ...]
    positions: int
    chunks: int
    chunk_tokens: int = 512
    task_rounds: int = 1
    position_tasks: tuple[str, ...] = ()


class QuantPlan(msgspec.Struct, frozen=True):
    """All that is decided before the first load. `seed` decides the order, and the round the contents of the tasks.

    `short_sessions`: the names mean the bundled sessions as `dyno demo` shortens them. `scored_by_position`: a server
    is asked for the probabilities at one position after the other, which takes far longer than a batch.
    """

    wanted: Wanted
    choice: Choice
    amount: Amount
    fidelity: Fidelity = "dispatch"
    setting: str = "plain"
    seed: int = 0
    machine: str | None = None
    short_sessions: bool = True
    named_sessions: tuple[str, ...] = ()
    scored_by_position: bool = False

    @property
    def measures_reference_apart(self) -> bool:
        """Whether the reference is no candidate, and so measured for quality alone."""
        return self.choice.reference not in self.choice.candidates


class Step(msgspec.Struct, frozen=True):
    """One thing to do: its place in the order, from 0, the round, from 1, and the candidate. `task` of a dispatch."""

    order: int
    round: int
    candidate: str
    kind: StepKind
    task: str | None = None

    @property
    def key(self) -> tuple[int, str, str, str | None]:
        """What it is, wherever it stands in the order."""
        return self.round, self.candidate, self.kind, self.task


_Place = tuple[int, str, StepKind, str | None]


def steps_of(plan: QuantPlan) -> tuple[Step, ...]:
    """All steps of a plan in their order, the same for the same seed."""
    return tuple(Step(order, *place) for order, place in enumerate((*_rounds(plan), *_quality(plan))))


def sittings_of(steps: Iterable[Step]) -> list[tuple[Step, ...]]:
    """The steps that share a load, in their order; each step of quality is one of its own."""
    together = groupby(steps, key=lambda step: (step.round, step.candidate, step.kind == "quality"))
    return [tuple(sitting) for _, sitting in together]


def _rounds(plan: QuantPlan) -> Iterator[_Place]:
    chance = random.Random(f"rounds of a comparison of quants {plan.seed}")
    names = [one.name for one in plan.choice.candidates]
    for number in range(1, plan.amount.rounds + 1):
        order = chance.sample(names, len(names))
        # The same for all: what a dispatch finds in the cache is what the one before it left.
        tasks = chance.sample(plan.amount.tasks, len(plan.amount.tasks))
        for name in order:
            for kind, task in _sitting(plan, number, tasks):
                yield number, name, kind, task
        if number == 1 and plan.measures_reference_apart and plan.amount.positions:
            yield number, plan.choice.reference.name, "calls", None


def _sitting(plan: QuantPlan, number: int, tasks: Sequence[str]) -> Iterator[tuple[StepKind, str | None]]:
    amount = plan.amount
    yield "load", None
    if amount.depths.depths_tokens:
        yield "rates", None
    if number == 1 and amount.positions:
        yield "calls", None
    for task in tasks if number <= amount.task_rounds else ():
        yield "task", task
    if number == 1 and amount.sessions:
        # Last: sessions are long, and a server keeps what it has served in a cache that grows.
        yield "cache", None


def _quality(plan: QuantPlan) -> Iterator[_Place]:
    if not plan.amount.chunks:
        return
    reference = plan.choice.reference
    others: Sequence[Candidate] = [one for one in plan.choice.candidates if one != reference]
    for one in (reference, *others):
        yield 0, one.name, "quality", None
