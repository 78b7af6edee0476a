"""What detectors are given and what they are: a finished dispatch with all that is known of it, and one pure function.

A detector takes a `Case` and returns what it found, in the order of turns. It never raises, whatever a model wrote. It
reads no file, no clock and asks no engine; what it must know is in the case.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from harness.settings import Setting
from harness.tasks.base import Task
from profiler.dispatch_records import CallRecord, Detection, DispatchStarted, ExitStatus, Outcome, TurnRecord
from profiler.records import Failure, RequestRecord

__all__ = ["Case", "Change", "Detector"]


class Change(msgspec.Struct, frozen=True):
    """A file of the workspace that is not as it was at the start, by its path relative to the workspace.

    `before` and `after` are its text; `None`: it was not there, it is not there any more, or it is no UTF-8 text. With
    both `None` only its name is known.
    """

    path: str
    before: str | None
    after: str | None


class Case(msgspec.Struct, frozen=True):
    """One dispatch after its verification: what it was, what happened, what it left.

    `changes` compares the workspace at the end with the start. `protected_changes` are the paths of protected files
    whose hash is another one, or which are gone or new. `rendered_tokens` is, by request id, how long the prompt was
    that was sent, by the engine's own renderer or tokenizer, where that is known. `context_tokens` is the target's
    context. `error` is why the dispatch ended, if it ended by one.
    """

    started: DispatchStarted
    task: Task
    setting: Setting
    turns: tuple[TurnRecord, ...]
    requests: tuple[RequestRecord, ...]
    exit_status: ExitStatus
    final_message: str
    outcome: Outcome
    wall_ns: int
    changes: tuple[Change, ...] = ()
    protected_changes: tuple[str, ...] = ()
    rendered_tokens: dict[int, int] = {}
    context_tokens: int | None = None
    error: Failure | None = None

    @property
    def calls(self) -> tuple[tuple[int, CallRecord], ...]:
        """Every call with the number of its turn, in order."""
        return tuple((turn.turn, call) for turn in self.turns for call in turn.calls)

    @property
    def requests_by_id(self) -> dict[int, RequestRecord]:
        """The requests of the turns by their ids."""
        return {request.request_id: request for request in self.requests}


Detector = Callable[[Case], tuple[Detection, ...]]
