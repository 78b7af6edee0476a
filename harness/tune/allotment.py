"""What a budget buys: how much is screened, raced and confirmed for so many seconds. Pure; measures nothing.

Screening gets at most 45 %, and what confirms is set aside before the race begins: a race that cannot be confirmed
says nothing that could be believed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from harness.experiment.plan import PlanError
from harness.tune.design import screening_rows

__all__ = [
    "Confirmation",
    "Rung",
    "Screening",
    "Seconds",
    "confirmation",
    "cost_of_rungs",
    "minutes",
    "rungs_for",
    "screening",
]

SCREEN_SHARE = 0.45
SCREENED_TASKS = 2
"""With two, what levers do in pairs can be told from noise; where a simulation tells that, one is enough."""
MOST_RACED = 6
FEWEST_RACED = 2
LAST_RACED = 3
"""With so many or fewer a rung is the last one."""
FIRST_PAIRS = 2
"""Task-repeats of the first rung; each rung after it has twice as many, up to all tasks."""
CONFIRMED_PAIRS = 12
MOST_BLOCKS = 4
SIMULATED = "simulate"

Seconds = Mapping[str, float | None]
"""What one dispatch takes, by its fidelity; `None` where it is not known."""


class Screening(msgspec.Struct, frozen=True):
    """A screening: with or without its fold-over, so many runs on so many tasks."""

    fold: bool
    runs: int
    tasks: int

    @property
    def dispatches(self) -> int:
        """With the warm-up."""
        return self.runs * self.tasks + 1


class Rung(msgspec.Struct, frozen=True):
    """A part of a race: so many candidates, beside the current setting, each with so many task-repeats."""

    candidates: int
    pairs: int


class Confirmation(msgspec.Struct, frozen=True):
    """Two settings on the held-out tasks, so many times each."""

    tasks: int
    blocks: int

    @property
    def dispatches(self) -> int:
        """With the warm-up."""
        return 2 * self.tasks * self.blocks + 1


def screening(
    levers: int, tasks: int, held_out: int, budget_s: float, each_s: Seconds, fidelity: str, *, simulated: bool
) -> Screening:
    """The largest screening that leaves enough for the rest; where seconds are not known, the usual one.

    Raises:
        PlanError: the budget does not reach for the smallest one.
    """
    wanted = 1 if simulated else min(SCREENED_TASKS, tasks)
    sizes = [Screening(True, len(screening_rows(levers, fold=True)), number) for number in range(wanted, 0, -1)]
    sizes.append(Screening(False, len(screening_rows(levers, fold=False)), 1))
    rehearsal_s, later_s = each_s.get("rehearse"), each_s.get(fidelity)
    if rehearsal_s is None or later_s is None:
        return sizes[0]
    smallest = [Rung(FEWEST_RACED, FIRST_PAIRS)]
    later = (cost_of_rungs(smallest) + Confirmation(held_out, 1).dispatches) * later_s
    for size in sizes:
        cost = size.dispatches * rehearsal_s
        if cost <= SCREEN_SHARE * budget_s and cost + later <= budget_s:
            return size
    least_s = max(sizes[-1].dispatches * rehearsal_s / SCREEN_SHARE, sizes[-1].dispatches * rehearsal_s + later)
    raise PlanError(
        f"{minutes(budget_s)} are not enough: a dispatch takes about {later_s:.1f} s, and it needs {minutes(least_s)}",
        hint="raise --budget, vary fewer levers, or name fewer or shorter held-out tasks",
    )


def rungs_for(candidates: int, tasks: int, left_s: float, each_s: float | None, held_out: int) -> tuple[Rung, ...]:
    """The largest race of successive halving that leaves enough to confirm; with nothing left, none."""
    reserved = _wanted_blocks(held_out)
    for confirmed in range(reserved, 0, -1):
        affordable = math.inf
        if each_s is not None and each_s > 0:
            affordable = left_s / each_s - Confirmation(held_out, confirmed).dispatches
        for number in range(min(MOST_RACED, candidates), 0, -1):
            rungs = _halving(number, tasks)
            if cost_of_rungs(rungs) <= affordable:
                return rungs
    return ()


def confirmation(held_out: int, left_s: float, each_s: float | None) -> Confirmation:
    """As many blocks of the held-out tasks as are wanted and can be paid; one in any case, since it was set aside."""
    wanted = _wanted_blocks(held_out)
    if each_s is None or each_s <= 0:
        return Confirmation(held_out, wanted)
    payable = int((left_s / each_s - 1) // (2 * held_out))
    return Confirmation(held_out, max(1, min(wanted, payable)))


def cost_of_rungs(rungs: list[Rung] | tuple[Rung, ...]) -> int:
    """Dispatches of a race, the current setting's and a warm-up for each rung among them."""
    return sum((rung.candidates + 1) * rung.pairs + 1 for rung in rungs)


def minutes(duration_s: float) -> str:
    """A duration as it is told."""
    return f"{duration_s / 60:.0f} min" if duration_s >= 90 else f"{duration_s:.0f} s"


def _halving(candidates: int, tasks: int) -> tuple[Rung, ...]:
    rungs: list[Rung] = []
    pairs = min(FIRST_PAIRS, tasks)
    while True:
        rungs.append(Rung(candidates, pairs))
        if candidates <= LAST_RACED:
            return tuple(rungs)
        candidates, pairs = math.ceil(candidates / 2), min(2 * pairs, tasks)


def _wanted_blocks(held_out: int) -> int:
    return min(MOST_BLOCKS, max(1, math.ceil(CONFIRMED_PAIRS / held_out)))
