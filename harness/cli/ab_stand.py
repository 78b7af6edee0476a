"""Where the dispatches of an experiment are done: the engine of each arm, started, emptied, warmed and watched for it.

What a dispatch finds is what the plan declared:

    cold          an engine that was started for it and never used
    warm-within   an empty cache: emptied (`Resetter`) or, where the engine offers no such thing, started anew and
                  warmed by one anchor request, of which nothing but the template's first words is in any prompt
    carry         what the dispatch of the same arm before it left; empty at the first one of a stretch

Each sitting begins with one whole dispatch that is stored and counts for nothing: it fills the caches of the disk and
of the interpreter, and tells what a dispatch takes. The anchor is measured before every dispatch that starts with an
empty cache (after it if `cold`), and a machine that is slower than at first is left alone for a while (`ab_anchor`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from backends import open_engine
from backends.base import Engine, KeepsTime, Target
from harness.cli.ab_anchor import Anchors
from harness.cli.ab_simulated import USUAL, check_simulated, open_modelled
from harness.cli.compactor import Compactors, compactor_of
from harness.cli.opened_site import OpenedSite, opened_site
from harness.cli.work_order import WorkAsked, order_of, target_of, work_of
from harness.dispatch import Order, run_dispatch
from harness.experiment.blocks import Cell
from harness.experiment.comparability import Ground, check_equal
from harness.experiment.plan import Arm, Plan, PlanError
from harness.experiment.store import CellBegun, CellWriter, StoredExperiment
from harness.plan_folder import next_load
from harness.sandbox.base import Capabilities, Sandbox, SandboxError
from harness.settings import levers
from harness.tasks.base import Task
from profiler.dispatch_records import DispatchRecord, DispatchStarted
from profiler.dispatch_store import read_dispatches
from profiler.guards import judge
from profiler.record_lines import read_lines
from profiler.records import GuardSample

__all__ = ["Stand", "arm_order", "arm_target"]


def arm_order(plan: Plan, arm: Arm, task: str) -> tuple[WorkAsked, Order]:
    """The order of an arm's dispatch on a task. Raises TaskError, AgentError."""
    simulated = plan.fidelity == "simulate"
    asked = WorkAsked(
        target=arm.target or (USUAL if simulated else None),
        agent=arm.agent,
        rehearse=plan.fidelity != "dispatch",
        readable=tuple(map(Path, arm.readable)),
        writable=tuple(map(Path, arm.writable)),
        agent_env=arm.agent_env,
        agent_files=arm.agent_files,
    )
    order = order_of(asked, task, plan.task_seed, arm.setting, arm.setting_name)
    return asked, msgspec.structs.replace(order, fidelity="simulate") if simulated else order


def arm_target(plan: Plan, arm: Arm) -> Target | None:
    """The engine of an arm; `None` where a scripted agent asks none. Raises TargetError."""
    asked, order = arm_order(plan, arm, plan.tasks[0].name)
    target = target_of(asked, arm.setting, order)
    compactor_of(arm.setting)
    if plan.fidelity == "simulate" and target is not None:
        check_simulated(target)
    return target


class Stand:
    """Does the dispatches of one experiment, one at a time; a context manager that closes what is open."""

    def __init__(
        self,
        stored: StoredExperiment,
        sandbox: Sandbox,
        capabilities: Capabilities,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`stored` is the experiment as it is on disk: what was done before decides what must be equal now."""
        self._plan = stored.experiment.plan
        self._path = stored.path
        self._sandbox, self._capabilities = sandbox, capabilities
        self._targets = {arm.name: arm_target(self._plan, arm) for arm in self._plan.arms}
        self._grounds: list[Ground] = []
        for info in stored.loads.values():
            arm = str(info.settings["arm"])
            self._grounds.append(Ground(arm, self._targets[arm], info))
        self._stack = ExitStack()
        self._opener = open_modelled if self._plan.fidelity == "simulate" else open_engine
        self._compactors = Compactors(self._opener)
        self._opened: OpenedSite | None = None
        self._cells: CellWriter | None = None
        self._target: Target | None = None
        self._number = 0
        self._used = False
        self._anchors = Anchors(stored, sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._compactors.close()
        self._stack.__exit__(kind, error, trace)

    def warm_up(self, cell: Cell) -> float:
        """Do the dispatch of a cell without counting it; seconds that it took, with the start of its engine."""
        began = time.monotonic()
        self._dispatch(cell, 1, warm_up=True)
        return time.monotonic() - began

    def perform(self, cell: Cell, attempt: int) -> DispatchRecord:
        """Do a dispatch of the plan and store it.

        Raises:
            EngineError: the engine cannot be started, or emptied.
            PlanError: what must be equal is not; or nobody can empty this engine's cache.
            StoreError, TaskError, SettingError, AgentError, KeyboardInterrupt: as `run_dispatch`.
        """
        return self._dispatch(cell, attempt, warm_up=False)

    def _dispatch(self, cell: Cell, attempt: int, *, warm_up: bool) -> DispatchRecord:
        plan, arm = self._plan, self._plan.arm(cell.arm)
        asked, order = arm_order(plan, arm, cell.task)
        opened, cells = self._ready(cell)
        self._number += 1
        number = self._number
        if cell.fresh and plan.cache != "cold":
            self._look_at_the_anchor(opened, cells, number)
            if opened.engine is not None:
                opened.forget()
        summaries = self._compactors.sender(arm.name, arm.setting, opened, order.fidelity, fresh=cell.fresh)
        self._used = True
        cells.begun(
            CellBegun(number, cell.order, cell.block, cell.arm, cell.task, attempt, cell.fresh, warm_up=warm_up)
        )
        work = work_of(asked, order, opened.site, opened.sender(order.fidelity), summaries)
        try:
            record = run_dispatch(order, opened.site, work, number=number, on_started=self._check_task(cell))
        except SandboxError:
            stored = read_dispatches(opened.path)[0][-1].ended
            assert stored is not None, "a dispatch that could not be confined is stored before it is told"
            record = stored
        if plan.cache == "cold":
            self._look_at_the_anchor(opened, cells, number)
        _tell_of_disturbance(opened, record)
        if record.exit_status == "infra_fault":
            self._close()
        return record

    def _ready(self, cell: Cell) -> tuple[OpenedSite, CellWriter]:
        """The site of the cell's arm, with an empty cache if the cell is to find one."""
        target, plan = self._targets[cell.arm], self._plan
        opened, cells = self._opened, self._cells
        if opened is not None and cells is not None and target == self._target:
            if not (cell.fresh and self._used):
                return opened, cells
            if plan.cache != "cold" and (opened.engine is None or opened.forget()):
                return opened, cells
            if opened.engine is not None and not opened.info.facts.launched:
                if plan.cache == "carry":
                    return opened, cells
                raise PlanError(
                    f"the cache of {opened.site.target} cannot be emptied: dyno did not start that server",
                    hint="let dyno start it, or declare what it is: --cache carry",
                )
        self._close()
        return self._open(cell, target)

    def _open(self, cell: Cell, target: Target | None) -> tuple[OpenedSite, CellWriter]:
        plan, arm = self._plan, self._plan.arm(cell.arm)
        name = next_load(self._path)
        site = opened_site(
            target,
            self._path,
            "ab",
            self._settings(arm),
            self._sandbox,
            self._capabilities,
            run_id=name,
            probing=False,
            opener=self._opener,
        )
        opened = self._stack.enter_context(site)
        self._grounds.append(Ground(arm.name, target, opened.info))
        check_equal(self._grounds)
        cells = CellWriter(opened.path)
        self._stack.callback(cells.close)
        self._opened, self._cells, self._target = opened, cells, target
        self._number, self._used = 0, False
        if _measurable(opened.engine) and plan.cache != "cold":
            self._anchors.measure(opened, keep=False)
        return opened, cells

    def _settings(self, arm: Arm) -> dict[str, Any]:
        return {
            "experiment": self._path.name,
            "arm": arm.name,
            "setting": arm.setting_name,
            "levers": dict(levers(arm.setting)),
            "fidelity": self._plan.fidelity,
            "cache": self._plan.cache,
            "sandbox": msgspec.to_builtins(self._capabilities),
        }

    def _close(self) -> None:
        self._opened = self._cells = None
        self._compactors.close()
        self._stack.close()

    def _check_task(self, cell: Cell) -> Callable[[DispatchStarted, Task], None]:
        planned = next(task for task in self._plan.tasks if task.name == cell.task)

        def check(started: DispatchStarted, _: Task) -> None:
            if started.task_sha256 != planned.sha256:
                raise PlanError(
                    f"the task {cell.task} is not what it was when the experiment was planned",
                    hint="its files have changed since: begin a new experiment",
                )

        return check

    def _look_at_the_anchor(self, opened: OpenedSite, cells: CellWriter, number: int) -> None:
        if _measurable(opened.engine):
            self._anchors.look(opened, cells, number)


def _tell_of_disturbance(opened: OpenedSite, record: DispatchRecord) -> None:
    """What else the machine did during a dispatch, as soon as it is over: it may be something that can be stopped."""
    if not _measurable(opened.engine):
        return
    samples, _ = read_lines(opened.path / "guards.jsonl", GuardSample)
    ended_ns = opened.site.clock()
    found = judge(samples, (ended_ns - record.totals.wall_ns, ended_ns))
    for guard in [guard for guard in found if guard.severity == "doubtful"][:1]:
        print(f"dyno: {record.dispatch_id} was disturbed: {guard.text}", file=sys.stderr, flush=True)


def _measurable(engine: Engine | None) -> bool:
    """Whether there is a machine that could drift."""
    return engine is not None and not isinstance(engine, KeepsTime)
