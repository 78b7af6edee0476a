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
from harness.detectors import detect
from harness.detectors.base import Case as Seen
from harness.detectors.base import Change
from harness.detectors.metrics import metrics_of
from harness.differences import changes_of, unified_diff
from harness.personas import find_persona
from harness.sandbox.base import Capabilities, Sandbox, SandboxError
from harness.sending import Judged
from harness.settings import Setting, fingerprint, levers
from harness.skills import skill_text
from harness.tasks.base import Task
from harness.tasks.registry import materialise
from harness.tasks.verify import protected_changes, verify
from harness.workspace import claim, copy_tree
from profiler.causes import causes_of
from profiler.causes.base import Case
from profiler.causes.cases import Cases
from profiler.dispatch_document import TurnRow, turn_row
from profiler.dispatch_records import Actor, DispatchRecord, DispatchStarted, Outcome, RunFidelity, TurnRecord
from profiler.dispatch_store import DispatchWriter
from profiler.dispatch_totals import totals_of
from profiler.findings import findings_of
from profiler.measure import Clock
from profiler.pricing import fit_prefill, samples_of
from profiler.records import Failure, RequestRecord
from profiler.store import RunWriter

__all__ = ["Bench", "Order", "Site", "Work", "run_dispatch"]

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


class Site(NamedTuple):
    """What all dispatches of a run have in common: where they are stored, confined and judged.

    `peak_memory_bytes` tells the engine's largest size between two stamps, where it was seen.
    """

    writer: RunWriter
    dispatches: DispatchWriter
    sandbox: Sandbox
    capabilities: Capabilities
    target: str | None
    cases: Cases
    clock: Clock
    context_tokens: int | None = None
    peak_memory_bytes: Callable[[int, int], int | None] = lambda _start_ns, _end_ns: None


def run_dispatch(
    order: Order,
    site: Site,
    work: Work,
    *,
    number: int = 1,
    on_turn: Callable[[TurnRow], None] = lambda _: None,
    on_started: Callable[[DispatchStarted, Task], None] = lambda _started, _task: None,
    wall_clock: Callable[[], int] = time.time_ns,
) -> DispatchRecord:
    """Run the `number`th dispatch of a run and store it. `on_turn` is told of every turn with what its request cost.

    Raises:
        TaskError, SettingError: the task, its scope, the persona or the skills cannot be had.
        SandboxError: a command could not be confined; stored as an infra_fault before.
        StoreError: the run cannot be written.
        KeyboardInterrupt: after the dispatch was stored as aborted.
    """
    persona = find_persona(order.setting.task.persona).text
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
            setting_fingerprint=fingerprint(order.setting, persona, skills),
            levers=dict(levers(order.setting)),
            actor=order.actor,
            agent=order.agent,
            fidelity=order.fidelity,
            target=site.target,
            sandbox=site.capabilities,
            started_unix_ns=wall_clock(),
            started_ns=site.clock(),
        )
        site.dispatches.started(started)
        on_started(started, task)
        diary = _Diary(site, on_turn)
        bench = Bench(
            started.dispatch_id,
            task,
            order.setting,
            persona,
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
            outcome = verify(task, workspace, site.sandbox, ledger=ledger, seconds=seconds)
        record = diary.ended(started, task, order.setting, workspace, finished, outcome, ended_ns, wall_clock())
        site.dispatches.ended(record)
        _write_texts(site.dispatches, started, diary, record)
        if interrupted is not None:
            raise interrupted
        return record


class _Diary:
    """What happened in one dispatch: written at once, and kept for its end."""

    def __init__(self, site: Site, on_turn: Callable[[TurnRow], None]) -> None:
        self._site = site
        self._on_turn = on_turn
        self.requests: list[RequestRecord] = []
        self.turns: list[TurnRecord] = []
        self.changes: tuple[Change, ...] = ()
        self._cases: list[Case] = []
        self._causes: dict[int, tuple[str, ...]] = {}
        self._rendered_tokens: dict[int, int] = {}

    def request(self, judged: Judged) -> None:
        record, kept = judged
        self._site.writer.request(record, kept.body, kept.rendered)
        self.requests.append(record)
        if kept.rendered is not None:
            self._rendered_tokens[record.request_id] = len(kept.rendered.token_ids)
        case = self._site.cases.next(record, kept.body, kept.rendered)
        if case is not None:
            self._cases.append(case)
            self._causes[record.request_id] = tuple(cause.code for cause in causes_of(case))

    def turn(self, record: TurnRecord) -> None:
        self._site.dispatches.turn(record)
        self.turns.append(record)
        request_id = record.request_id or -1
        request = next((r for r in reversed(self.requests) if r.request_id == request_id), None)
        self._on_turn(turn_row(record, request, self._causes.get(request_id, ())))

    def ended(
        self,
        started: DispatchStarted,
        task: Task,
        setting: Setting,
        workspace: Path,
        finished: Finished,
        outcome: Outcome,
        ended_ns: int,
        ended_unix_ns: int,
    ) -> DispatchRecord:
        """The record of the dispatch: its figures and what was seen in it."""
        self.changes = changes_of(task.folder / "workspace", workspace)
        seen = Seen(
            started=started,
            task=task,
            setting=setting,
            turns=tuple(self.turns),
            requests=tuple(self.requests),
            exit_status=finished.exit_status,
            final_message=finished.final_message,
            outcome=outcome,
            wall_ns=ended_ns - started.started_ns,
            changes=self.changes,
            protected_changes=protected_changes(task, workspace),
            rendered_tokens=self._rendered_tokens,
            context_tokens=self._site.context_tokens,
            error=finished.error,
        )
        return DispatchRecord(
            dispatch_id=started.dispatch_id,
            exit_status=finished.exit_status,
            outcome=outcome,
            detections=detect(seen),
            metrics=metrics_of(seen),
            totals=totals_of(
                self.requests,
                self.turns,
                wall_ns=seen.wall_ns,
                findings=findings_of(self._cases, fit_prefill(*samples_of(self.requests))),
                session_bytes=len(msgspec.json.encode(finished.messages)) if finished.messages else None,
                peak_memory_bytes=self._site.peak_memory_bytes(started.started_ns, ended_ns),
            ),
            final_message=finished.final_message,
            ended_unix_ns=ended_unix_ns,
            changed_files=tuple(change.path for change in self.changes),
            error=finished.error,
        )


def _write_texts(dispatches: DispatchWriter, started: DispatchStarted, diary: _Diary, record: DispatchRecord) -> None:
    difference = unified_diff(diary.changes)
    dispatches.text(started.dispatch_id, "workspace.diff", difference.encode("utf-8", "replace"))
    trajectory = atif.trajectory(started, diary.turns, diary.requests, record)
    dispatches.text(started.dispatch_id, "trajectory.json", trajectory)
