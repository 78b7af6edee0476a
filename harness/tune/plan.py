"""What a tuning is: space, tasks, objective and budget, all resolved before it begins; and what it asks for. Pure."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec

from harness.experiment.observations import metric_of
from harness.experiment.plan import ExperimentFidelity, PlanError, PlannedTask
from harness.stats import Declaration, Guard, Observation
from harness.tune.space import Point, Space

__all__ = ["CURRENT", "SCHEMA", "EngineFidelity", "Laboratory", "Result", "Stage", "TunePlan", "check_tasks"]

SCHEMA = 1
CURRENT = "current"
"""What the current setting is called among the others."""

EngineFidelity = Literal["rehearse", "dispatch"]


class TunePlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that is decided before the first stage.

    `fidelity` is of the race and of what confirms it; the screening is always rehearsed. `known_s` is what a dispatch
    took in earlier experiments, by fidelity. `name` is what the chosen setting will be called.
    """

    title: str
    name: str
    space: Space
    tasks: tuple[PlannedTask, ...]
    held_out: tuple[PlannedTask, ...]
    target: str | None
    agent: str | None = None
    fidelity: EngineFidelity = "dispatch"
    budget_s: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    primary: str = "time_to_success_s"
    guards: tuple[str, ...] = ("success",)
    margin: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.02
    guard_margin: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.10
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    task_seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    pauses: Annotated[int, msgspec.Meta(ge=0)] = 3
    simulated: bool = True
    known_s: dict[str, float] = {}
    schema: int = SCHEMA

    @property
    def declared(self) -> Declaration:
        """What decides, for the statistics. Raises PlanError for a metric that there is not."""
        guards = tuple(Guard(metric_of(name), self.guard_margin) for name in self.guards if name != self.primary)
        return Declaration(primary=metric_of(self.primary), margin=self.margin, guards=guards)


class Stage(msgspec.Struct, frozen=True):
    """One experiment of a tuning: some settings on some tasks, so often. `name` is its folder's."""

    name: str
    fidelity: ExperimentFidelity
    points: tuple[Point, ...]
    tasks: tuple[str, ...]
    blocks: int = 1

    @property
    def dispatches(self) -> int:
        """Without the warm-up."""
        return len(self.points) * len(self.tasks) * self.blocks


class Result(NamedTuple):
    """What came of a stage: observations whose arms are the labels of points, and what it took of the engine."""

    observations: tuple[Observation, ...]
    dispatches: int
    engine_s: float


class Laboratory(Protocol):
    """Performs stages: on an engine, on a modelled one, or by a formula."""

    def perform(self, stage: Stage) -> Result:
        """Do what is left of a stage, and give all of it. What it raises ends the tuning, and can be resumed."""
        ...

    def tell(self, text: str) -> None:
        """What the tuning does next, or has found."""
        ...


def check_tasks(plan: TunePlan) -> None:
    """Tasks to tune on and tasks to confirm on are others. Raises PlanError."""
    if not plan.held_out:
        hint = "name some with --held-out: what was chosen on tasks looks better on them than it is"
        raise PlanError("there is no held-out task to confirm on", hint=hint)
    both = {task.name for task in plan.tasks} & {task.name for task in plan.held_out}
    if both:
        raise PlanError(f"{min(both)} is a task to tune on and held out", hint="name it once")
