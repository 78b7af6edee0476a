"""Runs the calls of a turn and records what each brought. The clock is the caller's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from harness.agent.calls import ParsedCall
from harness.settings import Setting
from harness.tools.base import Tool
from harness.tools.changes import Changed, Changes
from profiler.dispatch_records import CallRecord

__all__ = ["ONE_CALL", "Runner", "cut_middle", "not_run"]

ONE_CALL = "Not run: make one call in a turn. Make this one again if you still need it."
_CHANGE_NOTHING = {"load", "plan", "finish"}


class Runner:
    """The tools of a dispatch and its workspace."""

    def __init__(
        self, tools: Mapping[str, Tool], setting: Setting, changes: Changes | None, clock: Callable[[], int]
    ) -> None:
        self._tools = tools
        self._setting = setting
        self._changes = changes
        self._clock = clock

    def run(self, call: ParsedCall) -> tuple[CallRecord, bool]:
        """Run a call without a fault; its record, and whether it ends the work.

        Raises:
            SandboxError: a command could not be started confined.
        """
        tool = self._tools[call.name]
        started_ns = self._clock()
        result = tool.run(call.arguments or {})
        ended_ns = self._clock()
        looks = self._changes is not None and tool.effect not in _CHANGE_NOTHING
        changed = self._changes.since() if looks and self._changes else Changed()
        raw = result.text.encode("utf-8", "replace")
        record = CallRecord(
            call_id=call.id,
            name=call.name,
            arguments=call.written,
            origin=call.origin,
            effect=tool.effect,
            ok=result.ok,
            exit_code=result.exit_code,
            timed_out=result.timed_out,
            denied=result.denied,
            result=cut_middle(raw, self._setting.calls.output_bytes),
            result_bytes=len(raw),
            result_sha256=hashlib.sha256(raw).hexdigest(),
            changed=tuple(sorted({*changed.files, *result.changed})),
            lines_added=changed.lines_added,
            lines_removed=changed.lines_removed,
            started_ns=started_ns,
            ended_ns=ended_ns,
        )
        return record, result.finished


def not_run(call: ParsedCall, tools: Mapping[str, Tool], result: str) -> CallRecord:
    """The record of a call that was not run, with what the model is told instead of a result (empty: nothing)."""
    told = result.encode("utf-8", "replace")
    return CallRecord(
        call_id=call.id,
        name=call.name,
        arguments=call.written,
        origin=call.origin,
        effect=tools[call.name].effect if call.name in tools else "other",
        fault=call.fault,
        result=result,
        result_bytes=len(told),
        result_sha256=hashlib.sha256(told).hexdigest(),
    )


def cut_middle(raw: bytes, limit_bytes: int) -> str:
    """A text of at most `limit_bytes`: its beginning and its end, and between them how much was left out."""
    if len(raw) <= limit_bytes:
        return raw.decode("utf-8", "replace")
    room = limit_bytes - len(_left_out(len(raw)).encode())
    if room < 2:
        return raw[:limit_bytes].decode("utf-8", "ignore")
    head = raw[: room - room // 2].decode("utf-8", "ignore")
    tail = raw[len(raw) - room // 2 :].decode("utf-8", "ignore")
    return f"{head}{_left_out(len(raw) - len(head.encode()) - len(tail.encode()))}{tail}"


def _left_out(count: int) -> str:
    return f"\n[… {count} bytes left out …]\n"
