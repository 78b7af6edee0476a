"""What an experiment will take, told by dispatches that were made before. Measures nothing."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import NamedTuple

from harness.experiment.plan import Plan
from harness.experiment.running import is_outcome
from harness.experiment.store import FILE, read_experiment
from profiler.run_files import StoreError

__all__ = ["Earlier", "earlier_s"]

LOOKED_AT = 10
"""Experiments that are looked at, the latest ones: older ones are of another build and another day."""


class Earlier(NamedTuple):
    """Seconds of a dispatch without the start of its engine, the mean of so many."""

    seconds: float
    dispatches: int


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
