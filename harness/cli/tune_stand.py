"""The laboratory of a tuning on real and modelled engines: every stage is an experiment in the tuning's folder.

A stage that was done before is read, one that was begun is gone on with, and its dispatches are those of `dyno ab`:
the same blocks, cache states, warm-up and guards. Settings of one server follow each other where order says nothing,
in a simulation.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from backends.base import EngineError
from harness.cli.ab_stand import Stand, arm_target
from harness.cli.tune_plan import experiment_of
from harness.experiment.blocks import cells_of
from harness.experiment.observations import observations_of
from harness.experiment.plan import Plan, PlanError
from harness.experiment.running import Progress, Todo, go_through, is_fault, still_to_do
from harness.experiment.store import FILE, Experiment, StoredExperiment, create, read_experiment
from harness.sandbox.base import Capabilities, Sandbox
from harness.tune.allotment import minutes
from harness.tune.plan import Result, Stage, TunePlan
from profiler.report.figures import seconds

__all__ = ["Engines"]


class Engines:
    """Performs the stages of one tuning."""

    def __init__(self, path: Path, plan: TunePlan, sandbox: Sandbox, capabilities: Capabilities) -> None:
        """`path` is the tuning's folder."""
        self._path, self._plan = path, plan
        self._sandbox, self._capabilities = sandbox, capabilities

    def tell(self, text: str) -> None:
        """A line on standard error."""
        print(text, file=sys.stderr, flush=True)

    def perform(self, stage: Stage) -> Result:
        """Do what is left of a stage.

        Raises:
            PlanError: the stage on disk is another one.
            EngineError: an engine cannot be started, or went away.
            StoreError, SandboxError, KeyboardInterrupt: as the dispatches of an experiment.
        """
        stored = self._stored(stage, experiment_of(self._plan, stage))
        plan = stored.experiment.plan
        todo = list(still_to_do(cells_of(plan), stored.done))
        if todo:
            self._go_on(stored, todo)
            stored = read_experiment(stored.path)
        counted = sum(not one.begun.warm_up for one in stored.done)
        return Result(observations_of(plan, stored.done), counted, engine_s(stored))

    def _stored(self, stage: Stage, plan: Plan) -> StoredExperiment:
        path = self._path / stage.name
        if not (path / FILE).is_file():
            now = time.time_ns()  # noqa: TID251 (the date of an experiment)
            create(self._path, Experiment(stage.name, "ab", now, plan))
        stored = read_experiment(path)
        before = stored.experiment.plan
        if (before.arms, before.tasks, before.blocks) != (plan.arms, plan.tasks, plan.blocks):
            hint = "it was made by another version of dyno, or its files were changed: begin a new tuning"
            raise PlanError(f"{path} is another stage than the one that comes next", hint=hint)
        return stored

    def _go_on(self, stored: StoredExperiment, todo: list[Todo]) -> None:
        plan = stored.experiment.plan
        simulated = plan.fidelity == "simulate"
        if simulated:
            targets = {arm.name: str(arm_target(plan, arm)) for arm in plan.arms}
            todo.sort(key=lambda one: targets[one.cell.arm])
        with (
            Stand(stored, self._sandbox, self._capabilities) as stand,
            _Teller(stored.path.name, plan.dispatches, quiet=simulated) as teller,
        ):
            try:
                if not simulated:
                    stand.warm_up(todo[0].cell)
                go_through(todo, stand.perform, of=plan.dispatches, on_done=teller.tell)
            except EngineError:
                arm = teller.current
                self.tell(f"{stored.path.name} ended{f' after {arm}' if arm else ''}: --exclude leaves out what fails")
                raise


def engine_s(stored: StoredExperiment) -> float:
    """What the loads of an experiment took, from the start of each to the end of its last dispatch."""
    if stored.experiment.plan.fidelity == "simulate":
        return 0.0
    ends: dict[str, int] = {}
    for one in stored.done:
        ended = one.dispatch.started.started_unix_ns + one.ended.totals.wall_ns
        ends[one.load] = max(ends.get(one.load, 0), ended)
    return sum(max(0, ended - stored.loads[name].started_unix_ns) for name, ended in ends.items()) / 1e9


class _Teller:
    """Tells of the dispatches of one stage: a bar on a terminal, else lines; of a simulation few."""

    def __init__(self, name: str, of: int, *, quiet: bool) -> None:
        self._name, self._of, self._quiet = name, of, quiet
        self._began = time.monotonic()
        self._seen = 0
        self.current = ""
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Drawn when a dispatch ends alone: a drawing thread would take time from the one that measures.
        self._bar = Bar(*columns, console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._task = self._bar.add_task(name, total=of) if self._bar else None

    def __enter__(self) -> _Teller:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def tell(self, progress: Progress) -> None:
        """Show a dispatch that has ended."""
        self._seen += 1
        self.current = progress.cell.arm
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=progress.done)
            self._bar.refresh()
        elif not self._quiet or progress.done == progress.of or progress.done % max(1, self._of // 4) == 0:
            print(self._line(progress), file=sys.stderr, flush=True)

    def _line(self, progress: Progress) -> str:
        cell, record = progress.cell, progress.record
        head = f"[{self._name} {progress.done}/{progress.of}] {cell.arm} · {cell.task}:"
        if is_fault(record):
            return f"{head} fault ({record.error.message if record.error else 'the verifier failed'})"
        left_s = (time.monotonic() - self._began) / self._seen * (progress.of - progress.done)
        rest = f" · about {minutes(left_s)} left of this stage" if progress.done < progress.of else ""
        took = "" if self._quiet else f" {seconds(record.totals.wall_ns / 1e9)}"
        return f"{head} {record.outcome.verified}{took}{rest}"
