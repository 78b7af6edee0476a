"""What is recommended among the candidates, and what each of them was judged by. Values only."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.quant.damage import Band
from harness.quant.figures import Figures
from harness.quant.need import Excluded
from harness.quant.task_evidence import TaskEvidence

__all__ = ["Answer", "Judged", "Recommendation"]

Answer = Literal["recommended", "predicted", "cannot tell", "none"]
"""`predicted`: nothing was measured. `cannot tell`: `chosen` leads, and `run` would decide. `none`: there is none."""


class Judged(msgspec.Struct, frozen=True):
    """A candidate that the user can have. `place` counts from 1; `None`: another one beats it (`beaten_by`).

    `tie`: its KLD is one of several that must not be ranked. `unstable_against` has the steadier cache.
    """

    name: str
    place: int | None
    band: Band
    tie: bool
    figures: Figures
    beaten_by: str | None = None
    tasks: TaskEvidence | None = None
    unstable_against: str | None = None
    notes: tuple[str, ...] = ()


class Recommendation(msgspec.Struct, frozen=True):
    """The answer with its reason in a line; `details` are what it rests on.

    `runner_up_cost` is what choosing the runner-up would cost and bring, in words. `run` is the command that would
    decide, or the next to run. `doubts` are what could make the answer wrong.
    """

    answer: Answer
    chosen: str | None
    reason: str
    runner_up: str | None
    runner_up_cost: str | None
    run: str | None
    judged: tuple[Judged, ...]
    excluded: tuple[Excluded, ...]
    details: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def ranking(self) -> tuple[str, ...]:
        """Those that nothing beats, the best first."""
        placed = [(one.place, one.name) for one in self.judged if one.place is not None]
        return tuple(name for _, name in sorted(placed))
