"""A scripted coding agent: the conversation that its client keeps, and the turns by which it solves tasks.

What it says and what its tools answer comes from `harness.session_maker.workspace`. It always appends; clients that
do something else to their prompts are made from its turns in `harness.session_maker.generator`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

from backends.base import JsonObject
from harness.session_maker import text
from harness.session_maker.workspace import Task, Workspace
from harness.sessions import Turn

_MAX_TOKENS = 512
# By importance: a task of n turns takes the first n - 1 of these, in the order of `_ORDER`, and then answers.
_IMPORTANCE = (
    "read",
    "edit",
    "test_passing",
    "test_failing",
    "grep",
    "bash",
    "read_other",
    "write",
    "list",
    "test_all",
)
_ORDER = (
    "list",
    "grep",
    "read",
    "read_other",
    "test_failing",
    "edit",
    "test_passing",
    "bash",
    "write",
    "test_all",
)


class Conversation:
    """A client's history of one conversation, and the turns that it has sent."""

    def __init__(self, name: str, system: str, tools: tuple[JsonObject, ...] = text.TOOLS) -> None:
        self.name = name
        self.system = system
        self.tools = tools
        self.messages: list[JsonObject] = [{"role": "system", "content": system}]

    @property
    def shared_chars(self) -> int:
        """Characters of the system prompt and the tools, as a template writes them."""
        return len(self.system) + sum(len(json.dumps(tool)) + 1 for tool in self.tools)

    @property
    def prompt_chars(self) -> int:
        """Characters of the whole prompt, about."""
        return self.shared_chars + sum(len(json.dumps(message)) for message in self.messages[1:])

    def add(self, role: str, content: str, **more: Any) -> None:
        """Append a message to the history."""
        self.messages.append({"role": role, "content": content, **more})

    def turn(self, reply: JsonObject) -> Turn:
        """Send the history as it stands; the reply joins it."""
        turn = Turn(self.name, tuple(self.messages), self.tools, _MAX_TOKENS, {"temperature": 0}, reply)
        self.messages.append(reply)
        return turn


class Agent:
    """An agent at work in a workspace: it yields one turn after the other of a conversation."""

    def __init__(self, rng: Random, workspace: Workspace, talk: Conversation, *, thinks: bool = False) -> None:
        self._rng = rng
        self._workspace = workspace
        self._talk = talk
        self._thinks = thinks

    def work(self, lengths: list[int], result_chars: Callable[[], int]) -> Iterator[Turn]:
        """One task for each length in turns; the last turn of a task is its answer."""
        for number, length in enumerate(lengths):
            orders = text.FOLLOW_UPS if number else text.TASKS
            yield from self.solve(self._rng.choice(orders), _steps(length), text.ANSWERS, result_chars)

    def solve(
        self, order: str, steps: Iterable[str], answers: tuple[str, ...], result_chars: Callable[[], int]
    ) -> Iterator[Turn]:
        """The user's order, a turn for each step, and the answer; results have about `result_chars`."""
        rng, talk, task = self._rng, self._talk, self._workspace.task()
        talk.add("user", order.format(**task.words))
        for step in steps:
            call = self._workspace.call(task, step)
            identity = f"call_{sum(m['role'] == 'tool' for m in talk.messages) + 1:04d}"
            function = {"name": call.tool, "arguments": json.dumps(call.arguments)}
            calls = [{"id": identity, "type": "function", "function": function}]
            yield talk.turn(self._reply(task, call.sentence, tool_calls=calls))
            size_chars = result_chars() * (70 + rng.randrange(60)) // 100
            talk.add("tool", self._workspace.result(task, step, size_chars), tool_call_id=identity)
        yield talk.turn(self._reply(task, rng.choice(answers).format(**task.words)))

    def _reply(self, task: Task, content: str, **more: Any) -> JsonObject:
        reply: JsonObject = {"role": "assistant", "content": content}
        if self._thinks:
            thoughts = list(text.REASONING)
            self._rng.shuffle(thoughts)
            chosen = thoughts[: 2 + self._rng.randrange(2)]
            reply["reasoning_content"] = " ".join(chosen).format(**task.words)
        return reply | more


def _steps(length: int) -> list[str]:
    """The tool steps of a task of `length` turns; long tasks read more files."""
    chosen = list(_IMPORTANCE[: length - 1])
    return sorted(chosen + ["read_other"] * (length - 1 - len(chosen)), key=_ORDER.index)


def task_lengths(rng: Random, turns: int, shortest: int, longest: int) -> list[int]:
    """Split turns into tasks of `shortest` to `longest` turns; the last one may be longer."""
    lengths: list[int] = []
    while turns >= shortest + longest:
        lengths.append(shortest + rng.randrange(longest - shortest + 1))
        turns -= lengths[-1]
    return [*lengths, turns]
