"""An agent's surroundings for tests: a model that answers as told and keeps the requests, tools without a sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from backends.base import JsonObject, Request
from harness.agent.calls import Said
from harness.agent.loop import Finished, Job, run_agent
from harness.agent.model import MAIN, Answer, Model, NameCall
from harness.settings import Setting
from harness.tools.base import Tool, ToolResult, schema_of
from harness.tools.submit import Submit
from profiler.dispatch_records import Effect, TurnRecord
from profiler.records import Failure, ToolCall

PROMPT_TOKENS = 100
DONE = Answer(Said("All done.", stop_reason="stop"), 99, PROMPT_TOKENS, 5)


def calling(*calls: tuple[str, Any], content: str = "", reasoning: str = "", **more: Any) -> Answer:
    """An answer with native calls; arguments as an object, or as the text that the model wrote."""
    written = [arguments if isinstance(arguments, str) else json.dumps(arguments) for _, arguments in calls]
    listed = tuple(ToolCall(f"engine-{name}", name, text) for (name, _), text in zip(calls, written, strict=True))
    said = Said(content, reasoning, listed, more.pop("stop_reason", "tool_calls" if calls else "stop"))
    return Answer(said, **{"request_id": 1, "prompt_tokens": PROMPT_TOKENS, "generated_tokens": 10, **more})


def saying(content: str, **more: Any) -> Answer:
    return calling(content=content, **more)


def failing(kind: str, message: str) -> Answer:
    return Answer(Said(), 1, error=Failure(kind, message))


class Told:
    """A model that gives prepared answers, the last one again and again, and keeps what it was asked."""

    def __init__(self, *answers: Answer | BaseException) -> None:
        self._answers = list(answers)
        self.requests: list[Request] = []
        self.conversations: list[str] = []

    def answer(self, request: Request, name_call: NameCall, *, conversation: str, turn: int) -> Answer:
        self.requests.append(request)
        self.conversations.append(conversation)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, BaseException):
            raise answer
        calls = tuple(msgspec.structs.replace(call, id=name_call(call)) for call in answer.said.calls)
        return msgspec.structs.replace(answer, said=answer.said._replace(calls=calls))

    @property
    def asked(self) -> list[list[JsonObject]]:
        """The messages of every request."""
        return [list(request.messages) for request in self.requests]


class Echo:
    """Says what it is given; `text` repeated `times`. Counts its calls."""

    name = "echo"
    effect: Effect = "load"
    schema = schema_of("echo", "Say it.", required={"text": {"type": "string"}}, times={"type": "integer"})

    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, arguments: JsonObject) -> ToolResult:
        self.ran.append(arguments["text"])
        return ToolResult(arguments["text"] * arguments.get("times", 1))


class Count(Echo):
    """Says something else every time."""

    name = "count"
    effect: Effect = "load"
    schema = schema_of("count", "Count.", required={})

    def run(self, arguments: JsonObject) -> ToolResult:
        self.ran.append(str(len(self.ran)))
        return ToolResult(self.ran[-1])


class Put:
    """Writes a file of the workspace."""

    name = "put"
    effect: Effect = "edit"
    schema = schema_of("put", "Write.", required={"path": {"type": "string"}, "text": {"type": "string"}})

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    def run(self, arguments: JsonObject) -> ToolResult:
        (self._workspace / arguments["path"]).write_text(arguments["text"])
        return ToolResult("Done.")


def ticks(step_ns: int = 1_000_000) -> Iterator[int]:
    return count(0, step_ns)


def worked(
    model: Model, setting: JsonObject | None = None, tools: Iterable[Tool] | None = None, **job: Any
) -> tuple[Finished, list[TurnRecord]]:
    """Let an agent work with levers given as in TOML; what it ended with, and the turns as they were reported."""
    turns: list[TurnRecord] = []
    clock, wall = ticks(), count(1_700_000_000_000_000_000, 1_234_567_000)
    given: JsonObject = {
        "dispatch_id": "d1",
        "instruction": "Do it.",
        "setting": msgspec.convert(setting or {}, Setting),
        "model": model,
        "clock": lambda: next(clock),
        "wall_clock": lambda: next(wall),
        "on_turn": turns.append,
        "tools": tuple(tools) if tools is not None else (Echo(), Submit()),
        **job,
    }
    return run_agent(Job(**given)), turns


def assert_valid(messages: Iterable[JsonObject]) -> None:
    """Every call is followed by its result, every result by its call; user and assistant alternate."""
    open_ids: list[str] = []
    last = ""
    for number, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            assert message["tool_call_id"] == open_ids.pop(0)
        else:
            assert not open_ids, "a call without a result"
            assert role != last, f"two messages of {role}"
            assert role != "system" or number == 0
        for call in message.get("tool_calls", ()):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            open_ids.append(call["id"])
        last = role
    assert not open_ids


__all__ = ["DONE", "MAIN", "Count", "Echo", "Put", "Told", "assert_valid", "calling", "failing", "saying", "worked"]
