"""Who decides what the agent does: a model on an engine, a script that an engine is made to say, or the script alone.

    EngineModel   the model decides (fidelity `dispatch`)
    ForcedModel   a scripted agent's steps are forced on the engine, and their tools really run (fidelity `rehearse`)
    ScriptModel   a scripted agent's steps, without an engine: for checks of tasks and tests

A script that is at its end says nothing and calls nothing, as a model that has finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from backends.base import JsonObject, Request
from harness.agent.calls import Said, said_by
from harness.agent.history import recap
from harness.agent.prompt import assistant_message
from harness.sending import Judged, Place, Sender
from harness.tasks.base import Step
from profiler.records import Failure, RequestRecord, ToolCall

__all__ = ["COMPACTION", "MAIN", "Answer", "EngineModel", "ForcedModel", "Model", "NameCall", "ScriptModel"]

MAIN, COMPACTION = "main", "compaction"
"""The conversations of a dispatch: the work, and the summaries of it."""

NameCall = Callable[[ToolCall], str]
"""Gives a call the id that it has in the history."""


class Answer(msgspec.Struct, frozen=True):
    """What a model answered to a request; the calls in `said` have the ids of the history.

    `request_id` is `None` where no engine was asked. `prompt_tokens` and `generated_tokens` are the engine's counts.
    """

    said: Said
    request_id: int | None = None
    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    error: Failure | None = None


class Model(Protocol):
    """Answers requests. One dispatch uses it at a time."""

    def answer(self, request: Request, name_call: NameCall, *, conversation: str, turn: int) -> Answer:
        """The answer to a request. A failure is an answer with an `error`; Ctrl-C propagates."""
        ...


class EngineModel:
    """A model on an engine. `on_request` is told of every request as soon as it is judged."""

    def __init__(self, sender: Sender, session: str, on_request: Callable[[Judged], None]) -> None:
        self._sender = sender
        self._session = session
        self._on_request = on_request

    def answer(self, request: Request, name_call: NameCall, *, conversation: str, turn: int) -> Answer:
        """Send the request, and take the reply apart."""
        judged = self._sender.send(request, Place(self._session, conversation, turn))
        self._on_request(judged)
        record, _ = judged
        return _answer(_named(said_by(record.reply, request.tools), name_call), record)


class ForcedModel:
    """A script on an engine that is made to say it, as far as it can be. A summary is `history.recap`'s."""

    def __init__(
        self, sender: Sender, session: str, on_request: Callable[[Judged], None], steps: Sequence[Step]
    ) -> None:
        self._sender = sender
        self._session = session
        self._on_request = on_request
        self._script = _Script(steps)

    def answer(self, request: Request, name_call: NameCall, *, conversation: str, turn: int) -> Answer:
        """Send the request with the script's next step as its reply; nothing is sent when there is none."""
        said = self._script.next(request, name_call, conversation)
        if said is None:
            return Answer(Said(stop_reason="stop"))
        reply = assistant_message(said.content, said.reasoning, said.calls)
        judged = self._sender.send(request, Place(self._session, conversation, turn), reply=reply)
        self._on_request(judged)
        return _answer(said, judged[0])


class ScriptModel:
    """A script without an engine."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._script = _Script(steps)

    def answer(self, request: Request, name_call: NameCall, *, conversation: str, turn: int) -> Answer:
        """The script's next step."""
        return Answer(self._script.next(request, name_call, conversation) or Said(stop_reason="stop"))


class _Script:
    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps: Iterator[Step] = iter(steps)

    def next(self, request: Request, name_call: NameCall, conversation: str) -> Said | None:
        """What is said to this request; `None` at the end of the script."""
        if conversation == COMPACTION:
            return Said(recap(request.messages), stop_reason="stop")
        step = next(self._steps, None)
        if step is None:
            return None
        calls = tuple(ToolCall("", call.name, _written(call.arguments)) for call in step.calls)
        said = Said(step.content, step.reasoning, calls, "tool_calls" if calls else "stop")
        return _named(said, name_call)


def _written(arguments: JsonObject) -> str:
    """Arguments as models write them: as `json.dumps` does, with a space behind commas and colons."""
    return msgspec.json.format(msgspec.json.encode(arguments), indent=0).decode()


def _named(said: Said, name_call: NameCall) -> Said:
    calls = tuple(msgspec.structs.replace(call, id=name_call(call)) for call in said.calls)
    return said._replace(calls=calls)


def _answer(said: Said, record: RequestRecord) -> Answer:
    evidence = record.evidence
    return Answer(said, record.request_id, evidence.prompt_tokens, evidence.generated_tokens, record.error)
