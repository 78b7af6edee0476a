"""What an experiment will take, told by dispatches that were made before, and what it cannot show. Measures nothing."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import NamedTuple

from harness.experiment.observations import metric_of
from harness.experiment.plan import Plan
from harness.experiment.running import is_outcome
from harness.experiment.stopping import alpha_of
from harness.experiment.store import FILE, read_experiment
from harness.stats import pairs_to_rule_out
from profiler.run_files import StoreError

__all__ = ["Earlier", "Unshowable", "earlier_s", "unshowable_guard"]

LOOKED_AT = 10
"""Experiments that are looked at, the latest ones: older ones are of another build and another day."""


class Earlier(NamedTuple):
    """Seconds of a dispatch without the start of its engine, the mean of so many."""

    seconds: float
    dispatches: int


class Unshowable(NamedTuple):
    """A guard that so many pairs cannot show to hold, even if no dispatch fails, and the fewest pairs that can.

    They are had with so many blocks of the same tasks, or tasks of as many blocks.
    """

    name: str
    pairs: int
    needed: int
    blocks: int
    tasks: int


def unshowable_guard(plan: Plan) -> Unshowable | None:
    """The guard on success, if the plan is too small for it; other guards depend on a spread that is not known."""
    pairs = len(plan.tasks) * plan.blocks
    for name in plan.guards:
        if name != plan.primary and metric_of(name).kind == "success":
            needed = pairs_to_rule_out((1, 0, 0, 0), plan.guard_margin, 1 - 2 * alpha_of(plan))
            if needed is not None and needed > pairs:
                more = (math.ceil(needed / len(plan.tasks)), math.ceil(needed / plan.blocks))
                return Unshowable(name, pairs, needed, *more)
    return None


def earlier_s(runs: Path, plan: Plan) -> Earlier | None:
    """What dispatches of the same tasks, target and fidelity took in earlier experiments; `None` without any."""
    wanted = {(arm.target, task.name) for arm in plan.arms for task in plan.tasks}
    times: list[float] = []
    for file in sorted(runs.glob(f"*/{FILE}"))[-LOOKED_AT:]:
        try:
            stored = read_experiment(file.parent)
        except StoreError:
            continue  # one that cannot be read tells nothing
        before = stored.experiment.plan
        if before.fidelity != plan.fidelity:
            continue
        targets = {arm.name: arm.target for arm in before.arms}
        times += [
            one.ended.totals.wall_ns / 1e9
            for one in stored.done
            if is_outcome(one.ended) and (targets[one.begun.arm], one.begun.task) in wanted
        ]
    return Earlier(statistics.fmean(times), len(times)) if times else None
