"""Ending an experiment early, where its plan declared that: after each pair the e-value is looked at, arm by arm.

An arm that is decided against the baseline is not run any more, and the experiment is over once all arms are decided.
A decision follows from the dispatches alone and is written when it is made, so that a resumed experiment neither goes
on nor decides otherwise. Only the e-value may be looked at so often (`harness.stats.sequential`); what it says is all
that such an experiment says, and intervals for a fixed number of dispatches do not hold there. Starts no engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.experiment.blocks import Cell
from harness.experiment.observations import metric_of, observations_of, observed
from harness.experiment.plan import Plan, PlanError
from harness.experiment.running import Progress, is_outcome
from harness.experiment.store import Decision, StoredExperiment, write_decisions
from harness.stats import Observation, Sequential, in_time, least_wins, look, pair_up

__all__ = ["ALPHA", "Stopper", "alpha_of", "check_stopping", "decided_by", "sequential_of", "unneeded"]

ALPHA = 0.05
_KINDS = ("time to success", "ratio")


def alpha_of(plan: Plan) -> float:
    """The error of one comparison: that of the experiment, divided among its treatments."""
    return ALPHA / max(1, len(plan.arms) - 1)


def check_stopping(plan: Plan) -> int | None:
    """How many of its pairs an arm has to win to be decided at the plan's end; `None` without early stopping.

    Raises:
        PlanError: what decides is not won or lost pair by pair, an arm is compared with itself, or there are too few
            pairs to decide at all.
    """
    if not plan.stop_early:
        return None
    if plan.same_twice:
        raise PlanError("dyno aa measures noise, so it is not ended early", hint="leave --stop-early out")
    if metric_of(plan.primary).kind not in _KINDS:
        hint = "for example --primary time_to_success_s, in which a failure loses its pair"
        raise PlanError(f"an experiment on {plan.primary} cannot be ended early: no arm is sooner in a pair", hint=hint)
    pairs = len(plan.tasks) * plan.blocks
    least = least_wins(pairs, alpha_of(plan))
    if least is None:
        in_a_row = next(n for n in range(pairs, 1000) if least_wins(n, alpha_of(plan)) is not None)
        raise PlanError(
            f"{pairs} pairs are too few to be decided by looking after each: {in_a_row} in a row would be needed",
            hint="plan more tasks or blocks, since most will not be run if the difference is large",
        )
    return least


def sequential_of(plan: Plan, seen: Iterable[Observation], treatment: str) -> Sequential:
    """The test of a treatment as it stands."""
    pairs = in_time(pair_up(seen, plan.arms[0].name, treatment).pairs)
    return look(pairs, metric_of(plan.primary), alpha_of(plan))


def decided_by(plan: Plan, seen: Sequence[Observation]) -> tuple[Decision, ...]:
    """What the dispatches decide, for each treatment that is decided, at the first look at which it was."""
    return tuple(found for arm in plan.arms[1:] if (found := _decision(plan, seen, arm.name)) is not None)


def unneeded(plan: Plan, decisions: Iterable[Decision], cell: Cell) -> bool:
    """Whether a dispatch is not run: its arm was decided before it, or all were if it is the baseline's."""
    before = {one.treatment for one in decisions if one.order < cell.order}
    treatments = {arm.name for arm in plan.arms[1:]}
    return cell.arm in before or (cell.arm == plan.arms[0].name and before == treatments)


class Stopper:
    """Looks after every pair, and writes what was decided. Without early stopping in the plan it does nothing."""

    def __init__(self, stored: StoredExperiment) -> None:
        """Takes up what was decided before; what a kill kept from being written is decided, and written, again."""
        self._plan = stored.experiment.plan
        self._path: Path = stored.path
        self._seen = list(observations_of(self._plan, stored.done)) if self._plan.stop_early else []
        self.decisions = stored.decisions
        self._look()

    def wanted(self, cell: Cell) -> bool:
        """Whether a dispatch is still to be run."""
        return not unneeded(self._plan, self.decisions, cell)

    def saw(self, progress: Progress) -> tuple[Decision, ...]:
        """Take a dispatch that has ended; what it decided. Raises StoreError."""
        if not self._plan.stop_early or not is_outcome(progress.record):
            return ()
        self._seen.append(observed(self._plan, progress.cell, progress.record))
        return self._look()

    def _look(self) -> tuple[Decision, ...]:
        if not self._plan.stop_early:
            return ()
        known = {one.treatment for one in self.decisions}
        new = tuple(one for one in decided_by(self._plan, self._seen) if one.treatment not in known)
        if new:
            self.decisions = (*self.decisions, *new)
            write_decisions(self._path, self.decisions)
        return new


def _decision(plan: Plan, seen: Sequence[Observation], treatment: str) -> Decision | None:
    pairs = in_time(pair_up(seen, plan.arms[0].name, treatment).pairs)
    metric, alpha = metric_of(plan.primary), alpha_of(plan)
    if not look(pairs, metric, alpha).stop:
        return None
    looks = ((n, look(pairs[:n], metric, alpha)) for n in range(1, len(pairs) + 1))
    n, found = next((n, found) for n, found in looks if found.stop)
    last = pairs[n - 1]
    return Decision(
        treatment=treatment,
        order=max(last.baseline.order, last.treatment.order),
        pairs=n,
        won=found.won,
        lost=found.lost,
        e_value=found.e_value,
        alpha=alpha,
        better=bool(found.for_treatment),
    )
