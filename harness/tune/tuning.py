"""A tuning from its first stage to its end: simulate, screen, choose, race, confirm. Starts no engine, writes nothing.

Every stage is an experiment that a `Laboratory` performs. What a stage is follows from the plan and the stages before
it alone, so that a tuning that was killed goes the same way when it is resumed; and what was found so far stands in
the `Tuning`, however it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import msgspec

from harness.experiment.observations import SIMULATED
from harness.stats import Observation, Verdict, judge
from harness.tune.allotment import Rung, Screening, confirmation, minutes, rungs_for, screening
from harness.tune.choosing import chosen_for_race, plainest
from harness.tune.costs import cost_of, is_ratio
from harness.tune.design import Signs, screening_rows
from harness.tune.effects import Effect, effects_of
from harness.tune.plan import CURRENT, Laboratory, Result, Stage, TunePlan
from harness.tune.prediction import Prediction, against, fit, ranked
from harness.tune.racing import Standing, after_rung, room_of
from harness.tune.search import Missing, propose
from harness.tune.space import MOST_LISTED, Point

__all__ = ["MOST_SIMULATED", "Tuning", "simulated_tasks"]

MOST_SIMULATED = 512
"""Settings that are simulated: no engine time, but not nothing either."""
_FEW = 64
_PROPOSED = 32


def simulated_tasks(points: int, tasks: int) -> int:
    """On how many tasks so many settings are simulated."""
    return min(tasks, 2 if points <= _FEW else 1)


class Tuning:
    """One tuning, with everything that it has found so far."""

    def __init__(self, plan: TunePlan, laboratory: Laboratory) -> None:
        self.plan = plan
        self._laboratory = laboratory
        self._space = plan.space
        self._metric = plan.declared.primary
        self._each_s: dict[str, float | None] = {**dict.fromkeys(("rehearse", "dispatch")), **plan.known_s}
        self.spent_s = self.confirmed_s = 0.0
        self.dispatches = 0
        self.stages: list[Stage] = []
        self.notes: list[str] = []
        self.tokens: dict[Point, float] = {}
        self.refused: dict[Point, str] = {}
        self.screening: Screening | None = None
        self.screened: tuple[Point, ...] = ()
        self.effects: tuple[Effect, ...] = ()
        self.rungs: list[tuple[Rung, list[Standing]]] = []
        self.winner: Point | None = None
        self.raced: Verdict | None = None
        self.confirmed: Verdict | None = None
        self.finished = False

    def run(self) -> None:
        """All of it.

        Raises:
            PlanError: the budget does not reach.
            EngineError, StoreError, KeyboardInterrupt: what the laboratory raises; what was found stands.
        """
        self._probe()
        self._simulate(self._listed(), "02-simulate")
        size = self._size()
        rows = self._rows(size)
        costs = self._screen(size, rows)
        pool, predicted = self._pool(costs)
        if self._race(pool, predicted):
            self._confirm()
        self.finished = True

    @property
    def chosen(self) -> Point | None:
        """The winner, if held-out tasks show that it is better; else `None`."""
        return self.winner if self.confirmed is not None and self.confirmed.word == "better" else None

    @property
    def left_s(self) -> float:
        """What is left of the budget."""
        return self.plan.budget_s - self.spent_s

    def _probe(self) -> None:
        """One dispatch of each fidelity whose seconds are not known: a budget cannot be divided without."""
        for fidelity in dict.fromkeys(("rehearse", self.plan.fidelity)):
            if self._each_s[fidelity] is None:
                self._laboratory.tell(f"one {fidelity} of the current setting, to see what a dispatch takes")
                name = f"01-probe-{fidelity}"
                self._perform(Stage(name, fidelity, (self._space.current,), (self.plan.tasks[0].name,)))

    def _size(self) -> Screening:
        plan = self.plan
        counts = (len(self._space.levers), len(plan.tasks), len(plan.held_out))
        return screening(*counts, self.left_s, self._each_s, plan.fidelity, simulated=bool(self.tokens))

    def _rows(self, size: Screening) -> tuple[Point, ...]:
        """The points of the screening, those that cannot be run by their nearest neighbours."""
        self.screening = size
        rows, moved, missing = self._placed(screening_rows(len(self._space.levers), fold=size.fold))
        if moved or missing:
            self.notes.append(
                f"{moved} runs of the screening were moved to a neighbour and {missing} left out, since they cannot "
                "be run: effects are mixed with each other by a little more than the design says"
            )
        merged = size.runs - len(rows) - missing
        if merged > 0:
            self.notes.append(
                f"{merged} runs of the screening are the same setting as another, since a lever does nothing there: "
                "its effect, and those of the levers it depends on, are mixed a little"
            )
        return rows

    def _placed(self, design: Signs) -> tuple[tuple[Point, ...], int, int]:
        """The points of a design, and how many of its runs had to be moved and left out."""
        levers = self._space.levers
        wanted = [
            tuple(lever.high if sign > 0 else lever.low for lever, sign in zip(levers, row, strict=True))
            for row in design
        ]
        found = [self._space.nearest(point) for point in wanted]
        placed = zip(wanted, found, strict=True)
        moved = sum(point is not None and self._space.canonical(want) != point for want, point in placed)
        return tuple(dict.fromkeys(point for point in found if point is not None)), moved, found.count(None)

    def _listed(self) -> tuple[Point, ...]:
        """What is simulated: all of a small space, else the runs of the largest screening and some that are drawn."""
        if not self.plan.simulated:
            return ()
        drawn = self._space.draw(MOST_SIMULATED, self.plan.seed)
        rows = self._placed(screening_rows(len(self._space.levers), fold=True))[0]
        return tuple(dict.fromkeys((self._space.current, *rows, *drawn)))[:MOST_SIMULATED]

    def _simulate(self, points: Sequence[Point], name: str) -> None:
        if not points:
            return
        number = simulated_tasks(len(points), len(self.plan.tasks))
        tasks = tuple(task.name for task in self.plan.tasks[:number])
        self._laboratory.tell(f"simulating {len(points)} settings on {number} of the tasks: no engine is asked")
        result = self._perform(Stage(name, "simulate", tuple(points), tasks))
        self._take_tokens(points, result.observations)

    def _take_tokens(self, points: Sequence[Point], seen: Sequence[Observation]) -> None:
        measure = self.plan.primary if self.plan.primary in SIMULATED else "evaluated_tokens"
        by_arm: dict[str, dict[str, float | None]] = {}
        failed: dict[str, bool] = {}
        for one in seen:
            by_arm.setdefault(one.arm, {})[one.task] = one.measures.get(measure)
            failed[one.arm] = failed.get(one.arm, True) and (one.excluded or one.success is False)
        now = by_arm.get(CURRENT, {})
        current_fails = failed.get(CURRENT, True)
        for point in points:
            label = self._space.label(point)
            values = by_arm.get(label, {})
            if failed.get(label, False) and not current_fails:
                self.refused[point] = "its simulated dispatches fail"
            elif values and all(value is not None for value in values.values()):
                # Of each task against the current setting: tasks differ in size.
                self.tokens[point] = fmean((value or 0.0) / (now.get(task) or 1.0) for task, value in values.items())

    def _screen(self, size: Screening, rows: tuple[Point, ...]) -> dict[tuple[Point, str], float]:
        tasks = tuple(task.name for task in self.plan.tasks[: size.tasks])
        fold = "with its fold-over" if size.fold else "without its fold-over, which the budget does not reach for"
        self._laboratory.tell(
            f"screening {len(self._space.levers)} levers by {len(rows)} runs × {size.tasks} tasks, {fold}"
        )
        rows = tuple(point for point in rows if point not in self.refused)
        result = self._perform(Stage("03-screen", "rehearse", rows, tasks))
        labels = {self._space.label(point): point for point in rows}
        costs: dict[tuple[Point, str], float] = {}
        for one in result.observations:
            cost = cost_of(one, self._metric)
            if cost is not None:
                costs[labels[one.arm], one.task] = cost
        self.screened = rows
        self.effects = effects_of(self._space.levers, rows, costs)
        return costs

    def _pool(self, costs: dict[tuple[Point, str], float]) -> tuple[tuple[Point, ...], Prediction]:
        """What may be raced, and what each is thought to cost."""
        predicted = self._fitted(costs)
        if self._space.combinations <= MOST_LISTED and (not self.tokens or len(self._space.points()) <= MOST_SIMULATED):
            return self._runnable(self._space.points()), predicted
        proposed = self._proposed(costs, predicted)
        if self.tokens:
            fresh = tuple(point for point in proposed if point not in self.tokens and point not in self.refused)
            self._simulate((self._space.current, *fresh) if fresh else (), "04-simulate")
            predicted = self._fitted(costs)
        return self._runnable(tuple(dict.fromkeys((*self.tokens, *self.screened, *proposed)))), predicted

    def _fitted(self, costs: dict[tuple[Point, str], float]) -> Prediction:
        return fit(self._space.levers, costs, self.tokens, logarithmic=is_ratio(self._metric))

    def _runnable(self, points: Sequence[Point]) -> tuple[Point, ...]:
        return tuple(point for point in points if point not in self.refused)

    def _proposed(self, costs: dict[tuple[Point, str], float], predicted: Prediction) -> tuple[Point, ...]:
        """Points of a space that was not simulated whole: by optuna from what is known, and the best by prediction."""
        by_point = {point: predicted(point) for point in (*self.tokens, *self.screened)}
        drawn = ranked(self._space.draw(MOST_LISTED, self.plan.seed + 1), predicted)[:_PROPOSED]
        try:
            asked = propose(self._space, by_point, _PROPOSED, self.plan.seed)
        except Missing as missing:
            self.notes.append(f"{missing}; the race is over the screened grid, and what lies between is not searched")
            asked = ()
        return tuple(dict.fromkeys((*drawn, *asked)))

    def _race(self, pool: Sequence[Point], predicted: Prediction) -> bool:
        """Rung by rung; whether another setting than the current one has won."""
        plan, space = self.plan, self._space
        tasks = [task.name for task in plan.tasks]
        others = [point for point in pool if point != space.current]
        each_s = self._each_s[plan.fidelity]
        rungs = rungs_for(len(others), len(tasks), self.left_s, each_s, len(plan.held_out))
        if not rungs:
            self.notes.append("nothing of the budget was left to race with")
            return False
        points = chosen_for_race(
            space, others, predicted, rungs[0].candidates, rehearsed=plan.fidelity == "rehearse", seed=plan.seed
        )
        by_label = {space.label(point): point for point in points}
        predicted_gain = against(predicted, space.current, logarithmic=is_ratio(self._metric))
        going, seen, turn = list(by_label), list[Observation](), 0
        for number, rung in enumerate(rungs, start=1):
            here = tuple(tasks[(turn + step) % len(tasks)] for step in range(rung.pairs))
            turn += rung.pairs
            self._laboratory.tell(f"race, rung {number} of {len(rungs)}: {len(going)} settings × {rung.pairs} tasks")
            runners = (space.current, *(by_label[label] for label in going))
            result = self._perform(Stage(f"05-race-{number}", plan.fidelity, runners, here))
            # Each rung is a round of its own: the same task in two of them is two pairs.
            seen += [_in_block(one, number) for one in result.observations]
            last = number == len(rungs)
            keep = len(going) if last else rungs[number].candidates
            going.sort(key=lambda label: space.changes(by_label[label]))
            expected = {label: predicted_gain(by_label[label]) for label in going}
            going, table = after_rung(seen, going, CURRENT, plan.declared, keep, expected)
            self.rungs.append((rung, table))
            if not going:
                self._laboratory.tell("no setting is left in the race")
                return False
            if len(going) == 1:
                break
        believed = {one.arm: one.believed for one in self.rungs[-1][1]}
        order = sorted(going, key=lambda label: believed[label] or 0.0)
        costs = [believed[label] for label in order]
        self.winner = plainest(space, [by_label[label] for label in order], costs, room_of(plan.declared))
        label = space.label(self.winner)
        self.raced = judge(seen, CURRENT, label, plan.declared)
        cost = next(one.cost for one in self.rungs[-1][1] if one.arm == label)
        if cost is None or cost >= 0:
            self._laboratory.tell("nothing in the race costs less than the current setting")
            return False
        return True

    def _confirm(self) -> None:
        assert self.winner is not None
        plan = self.plan
        size = confirmation(len(plan.held_out), self.left_s, self._each_s[plan.fidelity])
        tasks = tuple(task.name for task in plan.held_out)
        label = self._space.label(self.winner)
        self._laboratory.tell(f"confirming {label} on {size.tasks} held-out tasks × {size.blocks} blocks")
        stage = Stage("06-confirm", plan.fidelity, (self._space.current, self.winner), tasks, size.blocks)
        result = self._perform(stage)
        self.confirmed_s = result.engine_s
        self.confirmed = judge(result.observations, CURRENT, label, plan.declared)

    def _perform(self, stage: Stage) -> Result:
        self.stages.append(stage)
        result = self._laboratory.perform(stage)
        if stage.fidelity != "simulate":
            self.spent_s += result.engine_s
            self.dispatches += result.dispatches
            if result.dispatches:
                self._each_s[stage.fidelity] = result.engine_s / result.dispatches
            told = f"{minutes(self.spent_s)} of {minutes(self.plan.budget_s)} spent"
            self._laboratory.tell(f"{stage.name}: {result.dispatches} dispatches in {minutes(result.engine_s)}; {told}")
        return result


def _in_block(seen: Observation, block: int) -> Observation:
    return msgspec.structs.replace(seen, block=block)
