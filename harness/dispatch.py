"""One dispatch: an agent at work on a task, from the folder that it gets to the record of what it was worth.

    claim the workspace → write the task → the agent works → verify → detect → store

Each step is written as soon as it is over, so a killed dispatch can be read up to there. What the agent is, is the
caller's `Work`: the built-in one (`harness.agent.work`), or a program of its own (`harness.external`). Prints nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness import atif
from harness.agent.loop import Finished
from harness.diary import Diary, Site
from harness.differences import unified_diff
from harness.personas import alignment, find_persona
from harness.sandbox.base import Sandbox, SandboxError
from harness.sending import Judged
from harness.settings import Setting, fingerprint, levers
from harness.skills import skill_text
from harness.tasks.base import AGENTS, Task
from harness.tasks.folder import folder_sha256
from harness.tasks.registry import instruction, materialise, trajectory
from harness.tasks.verify import verify
from harness.workspace import claim, copy_tree
from profiler.dispatch_document import TurnRow
from profiler.dispatch_records import Actor, DispatchRecord, DispatchStarted, Outcome, RunFidelity, TurnRecord
from profiler.dispatch_store import DispatchWriter
from profiler.records import Failure

__all__ = ["Bench", "Order", "Work", "check_order", "run_dispatch"]

REPLY_FILE = "reply.md"
"""Where a single-shot task's verifier finds what the model answered."""


class Order(msgspec.Struct, frozen=True):
    """What is to be dispatched: a task by name and seed, the setting in force, and who does the work."""

    task: str
    seed: int
    setting: Setting
    setting_name: str
    actor: Actor
    agent: str
    fidelity: RunFidelity


class Bench(NamedTuple):
    """What an agent is given. `on_request` and `on_turn` are to be told of each as soon as it is over."""

    dispatch_id: str
    task: Task
    setting: Setting
    persona: str
    skills: str
    workspace: Path
    ledger: Path
    sandbox: Sandbox
    wall_clock: Callable[[], int]
    on_request: Callable[[Judged], None]
    on_turn: Callable[[TurnRecord], None]


Work = Callable[[Bench], Finished]
"""Does the work of a dispatch. A failure of the engine is in what it returns; Ctrl-C propagates."""


def run_dispatch(
    order: Order,
    site: Site,
    work: Work,
    *,
    number: int = 1,
    on_turn: Callable[[TurnRow], None] = lambda _: None,
    on_started: Callable[[DispatchStarted, Task], None] = lambda _started, _task: None,
    verifications: int = 1,
    wall_clock: Callable[[], int] = time.time_ns,
) -> DispatchRecord:
    """Run the `number`th dispatch of a run and store it. `on_turn` is told of every turn with what its request cost.

    The work is verified so many times; an outcome that is not the same each time is not valid.

    Raises:
        TaskError, SettingError: the task, its scope, the persona or the skills cannot be had.
        SandboxError: a command could not be confined; stored as an infra_fault before.
        StoreError: the run cannot be written.
        KeyboardInterrupt: after the dispatch was stored as aborted.
    """
    persona = find_persona(order.setting.task.persona)
    with tempfile.TemporaryDirectory(prefix="dyno-task-") as place, claim() as workspace:
        task = materialise(order.task, order.seed, Path(place).resolve() / "task")
        skills = skill_text(order.setting.skills, task.pack)
        copy_tree(task.folder / "workspace", workspace)
        ledger = Path(place).resolve() / "ledger.jsonl"
        ledger.touch()
        started = DispatchStarted(
            dispatch_id=f"{number:04d}-{task.name.replace('/', '-')}",
            task=task.name,
            pack=task.pack,
            seed=task.seed,
            task_sha256=task.sha256,
            setting=order.setting_name,
            setting_fingerprint=fingerprint(order.setting, persona.text, skills),
            levers=dict(levers(order.setting)),
            actor=order.actor,
            agent=order.agent,
            fidelity=order.fidelity,
            target=site.target,
            sandbox=site.capabilities,
            started_unix_ns=wall_clock(),
            started_ns=site.clock(),
            persona=alignment(persona, task.harness),
        )
        site.dispatches.started(started)
        on_started(started, task)
        diary = Diary(site, on_turn)
        bench = Bench(
            started.dispatch_id,
            task,
            order.setting,
            persona.text,
            skills,
            workspace,
            ledger,
            site.sandbox,
            wall_clock,
            diary.request,
            diary.turn,
        )
        interrupted: BaseException | None = None
        try:
            finished = work(bench)
        except KeyboardInterrupt as error:
            interrupted, finished = error, Finished("aborted", "", (), ())
        except SandboxError as error:
            interrupted = error
            finished = Finished("infra_fault", "", (), (), Failure(type(error).__name__, str(error)))
        ended_ns = site.clock()
        if task.harness.single_shot:
            (workspace / REPLY_FILE).write_text(finished.final_message, encoding="utf-8")
        outcome = Outcome("not_run")
        if interrupted is None:
            seconds = (ended_ns - started.started_ns) / 1e9
            outcome = _verified(task, workspace, site.sandbox, ledger, seconds, verifications)
        record = diary.ended(started, task, order.setting, workspace, finished, outcome, ended_ns, wall_clock())
        site.dispatches.ended(record)
        _write_texts(site.dispatches, started, diary, record)
        if interrupted is not None:
            raise interrupted
        return record


def _verified(
    task: Task, workspace: Path, sandbox: Sandbox, ledger: Path, seconds: float, verifications: int
) -> Outcome:
    """The outcome, valid only if it is the same every time and the task's folder is still what it was."""
    outcomes = [verify(task, workspace, sandbox, ledger=ledger, seconds=seconds) for _ in range(verifications)]
    first, notes = outcomes[0], list[str]()
    if any((one.score, one.parts, one.valid) != (first.score, first.parts, first.valid) for one in outcomes):
        notes.append(f"the verifier does not always say the same: scores {', '.join(str(o.score) for o in outcomes)}")
    if folder_sha256(task.folder) != task.sha256:
        notes.append("the folder of the task was changed while the agent worked")
    return msgspec.structs.replace(first, valid=False, notes=(*first.notes, *notes)) if notes else first


def check_order(order: Order) -> None:
    """Whether everything that an order names can be had, before an engine is started for it.

    Raises:
        TaskError, SettingError: the task, its scope or its scripted agent, the persona or the skills cannot be had.
    """
    find_persona(order.setting.task.persona)
    with tempfile.TemporaryDirectory(prefix="dyno-task-") as place:
        task = materialise(order.task, order.seed, Path(place) / "task")
        instruction(task, order.setting.task.scope)
        skill_text(order.setting.skills, task.pack)
        scripted = dict(zip(map(str, AGENTS), AGENTS, strict=True)).get(order.actor)
        if scripted is not None:
            trajectory(task, scripted, order.setting.task.scope)


def _write_texts(dispatches: DispatchWriter, started: DispatchStarted, diary: Diary, record: DispatchRecord) -> None:
    difference = unified_diff(diary.changes)
    dispatches.text(started.dispatch_id, "workspace.diff", difference.encode("utf-8", "replace"))
    trajectory = atif.trajectory(started, diary.turns, diary.requests, record, opening=diary.opening)
    dispatches.text(started.dispatch_id, "trajectory.json", trajectory)
