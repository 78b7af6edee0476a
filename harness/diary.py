"""What happens in one dispatch, written as it happens, and kept for the record at its end. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from backends.base import JsonObject
from harness.agent.loop import Finished
from harness.detectors import detect
from harness.detectors.base import Case as Seen
from harness.detectors.base import Change
from harness.detectors.metrics import metrics_of
from harness.differences import changes_of
from harness.sandbox.base import Capabilities, Sandbox
from harness.sending import Judged
from harness.settings import Setting
from harness.tasks.base import Task
from harness.tasks.verify import protected_changes
from profiler.causes import causes_of
from profiler.causes.cases import Cases
from profiler.dispatch_document import TurnRow, turn_row
from profiler.dispatch_records import DispatchRecord, DispatchStarted, Outcome, TurnRecord
from profiler.dispatch_store import DispatchWriter
from profiler.dispatch_totals import totals_of
from profiler.findings import Explained, findings_of
from profiler.measure import Clock
from profiler.pricing import fit_prefill, samples_of
from profiler.records import RequestRecord
from profiler.store import RunWriter

__all__ = ["Diary", "Site"]


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


class Diary:
    """What happened in one dispatch: written at once, and kept for its end."""

    def __init__(self, site: Site, on_turn: Callable[[TurnRow], None]) -> None:
        """`on_turn` is told of every turn with what its request cost."""
        self._site = site
        self._on_turn = on_turn
        self.requests: list[RequestRecord] = []
        self.turns: list[TurnRecord] = []
        self.changes: tuple[Change, ...] = ()
        self.opening: tuple[JsonObject, ...] = ()
        self._explained: dict[int, Explained] = {}
        self._rendered_tokens: dict[int, int] = {}

    def request(self, judged: Judged) -> None:
        """Take a request that was judged."""
        record, kept = judged
        self._site.writer.request(record, kept.body, kept.rendered)
        if not self.requests:
            self.opening = _messages(kept.body)
        self.requests.append(record)
        if kept.rendered is not None:
            self._rendered_tokens[record.request_id] = len(kept.rendered.token_ids)
        case = self._site.cases.next(record, kept.body, kept.rendered)
        if case is not None:
            self._explained[record.request_id] = record, causes_of(case)

    def turn(self, record: TurnRecord) -> None:
        """Take a turn that is over, after its requests."""
        self._site.dispatches.turn(record)
        self.turns.append(record)
        request_id = record.request_id or -1
        request = next((r for r in reversed(self.requests) if r.request_id == request_id), None)
        _, causes = self._explained.get(request_id, (None, ()))
        self._on_turn(turn_row(record, request, tuple(cause.code for cause in causes)))

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
                findings=findings_of(self._explained.values(), fit_prefill(*samples_of(self.requests))),
                session_bytes=len(msgspec.json.encode(finished.messages)) if finished.messages else None,
                peak_memory_bytes=self._site.peak_memory_bytes(started.started_ns, ended_ns),
            ),
            final_message=finished.final_message,
            ended_unix_ns=ended_unix_ns,
            changed_files=tuple(change.path for change in self.changes),
            error=finished.error,
        )


def _messages(body: bytes) -> tuple[JsonObject, ...]:
    """The messages of a request, in whatever form it was sent; none where it has no such list."""
    try:
        return tuple(msgspec.json.decode(body, type=_Body).messages)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()


class _Body(msgspec.Struct):
    messages: list[JsonObject] = []
