"""Turns of an external agent, as far as its requests show them: what was said, the calls, and what the calls brought.

The result of a call is what the next request of the conversation holds for it, so a turn with calls is known once that
request came, or at the end. What the agent did beside its requests is not seen here: exit codes, files that a call
changed, how long a tool ran, whether the agent ran the call at all. They stay unknown (`None`), and the detectors that
need them find nothing. What a tool is for is told by its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from backends.base import Request
from harness.external.conversations import MAIN, text_of
from harness.external.recording import Recorded
from profiler.dispatch_records import CallFault, CallRecord, Effect, TurnRecord
from profiler.records import RequestRecord, ToolCall

__all__ = ["Turns", "effect_of"]

_EFFECTS: tuple[tuple[Effect, str], ...] = (
    ("finish", r"submit|finish|complete|done|exit"),
    ("plan", r"todo|plan|task|think|note|memory|scratch"),
    ("verify", r"tests?|pytest|verify|check|lint"),
    ("edit", r"write|edit|patch|replace|create|insert|delete|remove|rename|move|apply"),
    ("load", r"read|view|cat|open|list|ls|glob|grep|find|search|fetch|get|tree"),
    ("execute", r"bash|shell|exec|run|command|terminal|python|powershell"),
)


def effect_of(name: str) -> Effect:
    """What a tool of that name is for; the words of a name are told apart by case, `_` and `-`."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    for effect, known in _EFFECTS:
        if any(re.fullmatch(known, word) for word in words):
            return effect
    return "other"


class Turns:
    """The turns of one dispatch, given out in order, each once the results of its calls are known."""

    def __init__(self, dispatch_id: str) -> None:
        self._dispatch_id = dispatch_id
        self._held: dict[int, TurnRecord] = {}
        self._waiting: dict[str, int] = {}
        self._taken = self._given = 0

    def take(self, recorded: Recorded) -> Iterator[TurnRecord]:
        """Take a request; gives the turns that are complete with it. One that waits holds up all after it."""
        record, _ = recorded.judged
        before = self._waiting.pop(record.conversation, None)
        if before is not None:
            self._held[before] = _with_results(self._held[before], recorded.request)
        turn = self._held[self._taken] = self._turn(record, recorded)
        if turn.calls:
            self._waiting[record.conversation] = self._taken
        self._taken += 1
        while self._given < self._taken and self._given not in self._waiting.values():
            yield self._held.pop(self._given)
            self._given += 1

    def rest(self) -> Iterator[TurnRecord]:
        """The turns whose results never came, and those after them."""
        yield from self._held.values()
        self._held.clear()

    def _turn(self, record: RequestRecord, recorded: Recorded) -> TurnRecord:
        request, exchange = recorded.request, recorded.exchange
        known = {tool.get("function", {}).get("name") for tool in request.tools} if request is not None else None
        return TurnRecord(
            dispatch_id=self._dispatch_id,
            turn=self._taken,
            request_id=record.request_id,
            content=record.reply.text.get("content", ""),
            reasoning=record.reply.text.get("reasoning", ""),
            calls=tuple(_call(call, known, cut=record.reply.stop_reason == "length") for call in record.reply.calls),
            stop_reason=record.reply.stop_reason,
            started_ns=exchange.sent_ns,
            ended_ns=exchange.ended_ns or exchange.sent_ns,
            events=() if record.conversation == MAIN else (f"conversation {record.conversation}",),
            error=record.error,
        )


def _call(call: ToolCall, known: set[Any] | None, *, cut: bool) -> CallRecord:
    fault: CallFault | None = None
    if known is not None and call.name not in known:
        fault = "unknown_tool"
    elif not _is_object(call.arguments):
        fault = "truncated_call" if cut else "unparsable_args"
    return CallRecord(
        call_id=call.id, name=call.name, arguments=call.arguments, effect=effect_of(call.name), fault=fault
    )


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(arguments), dict)
    except msgspec.DecodeError:
        return False


def _with_results(turn: TurnRecord, request: Request | None) -> TurnRecord:
    """The turn with what the next request holds as the results of its calls."""
    results = dict(_results(request)) if request is not None else {}
    calls = tuple(
        call if call.call_id not in results else _with_result(call, results[call.call_id]) for call in turn.calls
    )
    return msgspec.structs.replace(turn, calls=calls)


def _results(request: Request) -> Iterator[tuple[str, str]]:
    for message in request.messages:
        if message.get("role") == "tool":
            yield str(message.get("tool_call_id", "")), text_of(message.get("content"))


def _with_result(call: CallRecord, text: str) -> CallRecord:
    data = text.encode("utf-8", "replace")
    return msgspec.structs.replace(
        call, result=text, result_bytes=len(data), result_sha256=hashlib.sha256(data).hexdigest()
    )
