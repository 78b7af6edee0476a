"""What an experiment is: its arms, tasks, blocks and cache state, and what was declared before it began. Pure.

A block has every arm on every task once. What decides is one metric, declared here; other metrics are exploratory.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from harness.settings import Setting

__all__ = ["FEWEST_TASKS", "SCHEMA", "Arm", "CacheState", "ExperimentFidelity", "Plan", "PlanError", "PlannedTask"]

SCHEMA = 1
FEWEST_TASKS = 6
"""Tasks tell more than repeats: with fewer than six, signed ranks cannot set a bound at 95 % at all."""

CacheState = Literal["cold", "warm-within", "carry"]
"""What an engine holds when a dispatch begins: nothing and never used since its start (`cold`), nothing but warmed up
(`warm-within`), or what the dispatch before it left, of the same arm (`carry`)."""

ExperimentFidelity = Literal["simulate", "rehearse", "dispatch"]


class PlanError(Exception):
    """A plan that cannot be used as written. `hint` says what to write instead (exit code 2)."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Arm(msgspec.Struct, frozen=True):
    """One side of the comparison: a setting in force, an engine by `target`, and an agent.

    `setting_name` is as in records. `agent`: `None` for the built-in one, a scripted one, or the command of another.
    """

    name: str
    setting: Setting
    setting_name: str
    target: str | None = None
    agent: str | None = None
    agent_env: tuple[str, ...] = ()
    agent_files: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()


class PlannedTask(msgspec.Struct, frozen=True):
    """A task, the hash of its folder, and its own time limit.

    `name` is what it is dispatched by: a folder of one's own by its path.
    """

    name: str
    sha256: str
    limit_s: float | None = None


class Plan(msgspec.Struct, frozen=True):
    """All that is decided before the first dispatch. The first arm is the baseline.

    `seed` decides the order, `task_seed` the contents of the tasks. `margin` is the ratio (0.05: 5 %) within which two
    times count as equivalent, `guard_margin` how far a guard metric may fall, as a difference of rates. `pause_s` is
    how long a machine that has drifted is left alone before the anchor is measured again, `pauses` how often.
    `stop_early`: the e-value is looked at after every pair, and alone decides (`harness.experiment.stopping`).
    """

    title: str
    arms: tuple[Arm, ...]
    tasks: tuple[PlannedTask, ...]
    blocks: Annotated[int, msgspec.Meta(ge=1)] = 2
    seed: int = 0
    task_seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    cache: CacheState = "warm-within"
    fidelity: ExperimentFidelity = "dispatch"
    primary: str = "time_to_success_s"
    guards: tuple[str, ...] = ("success",)
    margin: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05
    guard_margin: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.10
    pause_s: Annotated[float, msgspec.Meta(ge=0)] = 20.0
    pauses: Annotated[int, msgspec.Meta(ge=0)] = 3
    stop_early: bool = False
    same_twice: bool = False
    """One arm under two names (`dyno aa`): what differs is noise."""
    schema: int = SCHEMA

    @property
    def dispatches(self) -> int:
        """How many dispatches the plan has, warm-ups not counted."""
        return len(self.arms) * len(self.tasks) * self.blocks

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)
