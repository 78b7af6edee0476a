"""A laboratory that is a formula: what each setting costs is known, and so is the best. No engine, no clock.

Seconds are those of tools, decode and prefill; prefill follows the tokens that a cache would not reuse, which the
simulation knows exactly and nothing else of. A measured dispatch has noise of its own.
"""

from __future__ import annotations

import math
import random
from typing import Any

from harness.experiment.plan import PlannedTask
from harness.settings import Setting, find_setting, with_levers
from harness.stats import Observation
from harness.tune.plan import Result, Stage, TunePlan
from harness.tune.rules import Rules, read_rules
from harness.tune.space import Point, Space, make_space

TASKS = tuple(PlannedTask(f"t{number}", "0" * 64, 1800.0) for number in range(1, 7))
HELD_OUT = tuple(PlannedTask(f"h{number}", "0" * 64, 1800.0) for number in range(1, 7))
VARY = {
    "prompt.volatile": ("none", "clock"),
    "prompt.volatile_at": ("system_start", "system_end", "last_message"),
    "prompt.tool_order": ("fixed", "shuffled"),
    "history.policy": ("keep", "drop_oldest", "clear_results"),
    "skills.bytes": ("0", "9000", "18000"),
    "target.slots": ("2", "4"),
    "tests.granularity": ("suite", "file", "test"),
}
HOSTILE = {
    "prompt.volatile": "clock",
    "prompt.tool_order": "shuffled",
    "history.policy": "clear_results",
    "skills.bytes": "9000",
    "target.slots": "4",
    "tests.granularity": "suite",
}
BEST = {
    "prompt.volatile": "none",
    "prompt.tool_order": "fixed",
    "history.policy": "keep",
    "skills.bytes": "0",
    "target.slots": "2",
    "tests.granularity": "test",
}


def space(current: dict[str, str], rules: Rules | None = None) -> Space:
    """The space around a setting that is `plain` with some levers changed."""
    setting: Setting = with_levers(find_setting("plain"), current)
    return make_space(setting, "here", VARY, read_rules() if rules is None else rules)


def tokens(values: dict[str, str]) -> float:
    """What a cache would evaluate: nearly all again where an early token changes."""
    prompt = 3000 + int(values["skills.bytes"]) / 4
    reused = 0.95
    if values["prompt.volatile"] != "none":
        reused *= {"system_start": 0.0, "system_end": 0.45, "last_message": 0.97}[values["prompt.volatile_at"]]
    reused *= 0.25 if values["prompt.tool_order"] == "shuffled" else 1.0
    reused *= {"keep": 1.0, "drop_oldest": 0.8, "clear_results": 0.7}[values["history.policy"]]
    reused *= {"2": 1.0, "4": 0.96}[values["target.slots"]]
    return prompt * 6 * (1 - reused)


def seconds(values: dict[str, str]) -> float:
    """What a dispatch takes without noise: tools and decode are what the simulation does not know."""
    tools = {"suite": 14.0, "file": 6.0, "test": 3.0}[values["tests.granularity"]]
    decode = {"keep": 10.0, "drop_oldest": 10.5, "clear_results": 10.2}[values["history.policy"]]
    return tools + decode + tokens(values) / 400


class Formula:
    """Performs stages by the formula; `flat`: nothing makes a difference."""

    def __init__(self, space_: Space, seed: int, *, noise: float = 0.05, flat: bool = False) -> None:
        self.space = space_
        self.noise = noise
        self.flat = flat
        self.told: list[str] = []
        self._chance = random.Random(seed)

    def true_s(self, point: Point) -> float:
        """The cost of a point, without noise and task."""
        return 20.0 if self.flat else seconds(self.space.values(point))

    def best_s(self) -> float:
        """The least cost of all."""
        return min(map(self.true_s, self.space.points()))

    def measured_s(self, point: Point, task: str) -> float:
        """One dispatch."""
        scale = 1 + int(task[1:]) / 4
        return self.true_s(point) * scale * math.exp(self._chance.gauss(0, self.noise))

    def perform(self, stage: Stage) -> Result:
        """Every point on every task, in every block."""
        found: list[Observation] = []
        for block in range(1, stage.blocks + 1):
            for task in stage.tasks:
                for point in stage.points:
                    found.append(self._observed(stage, point, task, block, len(found)))
        timed = [seen.time_s for seen in found if seen.time_s is not None]
        return Result(tuple(found), len(timed), math.fsum(timed))

    def tell(self, text: str) -> None:
        """Kept, to be looked at."""
        self.told.append(text)

    def _observed(self, stage: Stage, point: Point, task: str, block: int, order: int) -> Observation:
        simulated = stage.fidelity == "simulate"
        evaluated = 1000.0 if self.flat else tokens(self.space.values(point))
        return Observation(
            arm=self.space.label(point),
            task=task,
            block=block,
            order=order,
            success=True,
            score=1.0,
            time_s=None if simulated else self.measured_s(point, task),
            limit_s=1800.0,
            measures={"evaluated_tokens": evaluated} if simulated else {},
        )


def plan(space_: Space, **further: Any) -> TunePlan:
    """A tuning of that space with time enough."""
    fields: dict[str, Any] = {"budget_s": 1e6, "fidelity": "rehearse", "margin": 0.02, **further}
    return TunePlan(
        title="a formula", name="tuned", space=space_, tasks=TASKS, held_out=HELD_OUT, target="tiny", **fields
    )
