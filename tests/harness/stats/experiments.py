"""Experiments that never ran, with a known truth: as observations, and as arrays of thousands at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.stats import Observation

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Two = tuple[float, float]

WITHIN_CV = 0.12
EFFECT_SD = 0.10
TASK_SD = 0.4
SLOW_FACTOR = 3.5
"""200 and 700 seconds: what was seen of one agent with the same settings."""


class Drawn(NamedTuple):
    """Logarithms of times and failures, each of the shape (experiments, tasks, repeats)."""

    first: Floats
    second: Floats
    first_failed: Bools
    second_failed: Bools

    @property
    def by_task(self) -> Floats:
        return np.asarray((self.second - self.first).mean(axis=-1), dtype=np.float64)


def draw(
    seed: int, trials: int, tasks: int, repeats: int, ratio: float = 1.0,
    slow: Two = (0.0, 0.0), failing: Two = (0.0, 0.0), effect_sd: float = EFFECT_SD,
) -> Drawn:  # fmt: skip
    """Log-normal times; every task has its own time and its own effect. A failure takes the limit, ten minutes."""
    rng = np.random.default_rng(seed)
    own = math.sqrt(math.log1p(WITHIN_CV**2))
    limit = math.log(600)
    middle = math.log(120) + rng.normal(0, TASK_SD, (trials, tasks, 1))
    effect = rng.normal(math.log(ratio), effect_sd if ratio != 1 else 0.0, (trials, tasks, 1))
    shape = (trials, tasks, repeats)
    arms: list[tuple[Floats, Bools]] = []
    for shift, slowness, failure in zip((0.0 * effect, effect), slow, failing, strict=True):
        times = middle + shift + rng.normal(0, own, shape) + math.log(SLOW_FACTOR) * (rng.random(shape) < slowness)
        failed = rng.random(shape) < failure
        arms.append((np.where(failed, limit, times), failed))
    return Drawn(arms[0][0], arms[1][0], arms[0][1], arms[1][1])


def observed(drawn: Drawn, trial: int = 0, seed: int = 0) -> list[Observation]:
    """One of the experiments as its dispatches, in a random order within each block."""
    rng = np.random.default_rng(seed)
    _, tasks, repeats = drawn.first.shape
    found: list[Observation] = []
    for block in range(repeats):
        for place in rng.permutation(2 * tasks):
            task, second = int(place) // 2, bool(place % 2)
            times, failed = (drawn.second, drawn.second_failed) if second else (drawn.first, drawn.first_failed)
            seconds, success = math.exp(times[trial, task, block]), not failed[trial, task, block]
            found.append(
                Observation(
                    arm="B" if second else "A", task=f"t{task:02}", block=block, order=len(found),
                    success=success, score=float(success), time_s=seconds, limit_s=600.0,
                    measures={"tokens": 40 * seconds},
                )
            )  # fmt: skip
    return found


def dispatch(
    arm: str, task: str = "t", block: int = 0, order: int = 0, seconds: float | None = 100.0, **other: object
) -> Observation:
    """A success that took so long; `success=False` for a failure."""
    known: dict[str, object] = {"success": True, "time_s": seconds, "limit_s": 600.0, **other}
    return Observation(arm=arm, task=task, block=block, order=order, **known)  # type: ignore[arg-type]


def covered(low: Floats, high: Floats, truth: float) -> float:
    return float(((low <= truth) & (truth <= high)).mean())
