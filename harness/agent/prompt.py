"""What is sent in each request: system prompt, tools, history, and the levers that disturb them. Pure.

    persona, workspace, skills, scaffolding      the same in every request of a dispatch
    volatile line                                new in every request, where `prompt.volatile_at` puts it
    tools                                        in one order, or shuffled anew
    history                                      as it is, or without what was thought before the last turn

The clock and the seed come from outside: the same arguments give the same request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from random import Random

import msgspec

from backends.base import JsonObject, Request
from harness.settings import Setting
from harness.tools.paths import SHOWN_ROOT
from profiler.records import ToolCall

__all__ = ["THINK", "CallIds", "Frame", "assistant_message", "frame_of", "request_of", "tool_message"]

THINK = "Think first."
"""Asks for thoughts in words, for models whose template knows no switch, as the bundled one."""

_OF_FILES = frozenset({"read", "list", "grep", "edit", "write", "bash", "test"})
"""Tools by which a model sees the workspace."""

_SCAFFOLDING = {
    "todo": "Keep a list of what is left to do with the todo tool, and work from it.",
    "planner": "Before you begin, write your plan with the plan tool; change it when you learn more.",
    "scratchpad": "Note what you may need later with the scratchpad tool.",
}


class Frame(msgspec.Struct, frozen=True):
    """What is the same in all requests of a dispatch. `seed` decides what is drawn anew in each of them."""

    setting: Setting
    system: str
    tools: tuple[JsonObject, ...]
    seed: str


class CallIds:
    """Gives each call of a dispatch its id: `call_1`, `call_2`, …, or the engine's, or a random one without that."""

    def __init__(self, setting: Setting, seed: str) -> None:
        self._counted = setting.prompt.call_ids == "counted"
        self._random = Random(f"{seed} call ids")
        self._count = 0

    def of(self, call: ToolCall) -> str:
        """The id that a call has in the history."""
        self._count += 1
        if self._counted:
            return f"call_{self._count}"
        return call.id or f"{self._random.getrandbits(96):024x}"


def frame_of(
    setting: Setting,
    *,
    persona: str = "",
    skills: str = "",
    tools: Iterable[JsonObject] = (),
    seed: str = "",
) -> Frame:
    """The frame of a dispatch: its system prompt and its tools."""
    offered = tuple(tools)
    parts = [persona.strip()]
    if any(tool["function"]["name"] in _OF_FILES for tool in offered):
        parts.append(f"Your workspace is {SHOWN_ROOT}; relative paths are relative to it.")
    parts.append(skills.strip())
    parts += [text for lever, text in _SCAFFOLDING.items() if getattr(setting.scaffolding, lever)]
    if setting.thinking.mode == "on":
        parts.append(THINK)
    return Frame(setting, "\n\n".join(filter(None, parts)), offered, seed)


def request_of(
    frame: Frame, history: Sequence[JsonObject], *, number: int, now_unix_ns: int, max_tokens: int
) -> Request:
    """The `number`th request of a dispatch (from 1), asked at this time of the wall clock.

    `history` holds everything after the system prompt, and stays as it is: what is volatile is in this request alone.
    """
    setting, random = frame.setting, Random(f"{frame.seed} request {number}")
    tools = list(frame.tools)
    if setting.prompt.tool_order == "shuffled":
        random.shuffle(tools)
    shown = _without_old_thoughts(history) if setting.thinking.history == "stripped" else list(history)
    system = frame.system
    line = _volatile(setting, random, number, now_unix_ns)
    if line and setting.prompt.volatile_at == "last_message" and shown:
        shown[-1] = {**shown[-1], "content": f"{shown[-1].get('content') or ''}\n\n{line}"}
    elif line:
        at_start = setting.prompt.volatile_at == "system_start"
        system = "\n\n".join(filter(None, [line, system] if at_start else [system, line]))
    first: list[JsonObject] = [{"role": "system", "content": system}] if system else []
    return Request(
        messages=(*first, *shown),
        tools=tuple(tools),
        max_tokens=max_tokens,
        parameters=_parameters(setting, with_tools=bool(tools)),
    )


def assistant_message(content: str, reasoning: str, calls: Iterable[ToolCall]) -> JsonObject:
    """A reply as it goes into the history; each call with the id that it has there."""
    message: JsonObject = {"role": "assistant", "content": content}
    if reasoning:
        message["reasoning_content"] = reasoning
    listed = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    return {**message, "tool_calls": listed} if listed else message


def tool_message(call_id: str, result: str) -> JsonObject:
    """The result of a call as it goes into the history."""
    return {"role": "tool", "tool_call_id": call_id, "content": result}


def _without_old_thoughts(history: Sequence[JsonObject]) -> list[JsonObject]:
    last = max((at for at, message in enumerate(history) if message["role"] == "assistant"), default=0)
    return [
        {key: value for key, value in message.items() if key != "reasoning_content"} if at < last else message
        for at, message in enumerate(history)
    ]


def _volatile(setting: Setting, random: Random, number: int, now_unix_ns: int) -> str:
    kind = setting.prompt.volatile
    if kind == "clock":
        seconds, rest_ns = divmod(now_unix_ns, 10**9)
        now = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
        return f"Current time: {now.isoformat(timespec='microseconds')}"
    if kind == "counter":
        return f"This is request {number} of the session."
    return f"Working directory: {SHOWN_ROOT}, run folder {random.getrandbits(48):012x}" if kind == "cwd" else ""


def _parameters(setting: Setting, *, with_tools: bool) -> JsonObject:
    parameters: JsonObject = {"temperature": setting.sampling.temperature}
    if setting.sampling.top_p is not None:
        parameters["top_p"] = setting.sampling.top_p
    if setting.sampling.seed is not None:
        parameters["seed"] = setting.sampling.seed
    if setting.thinking.mode != "default":
        parameters["chat_template_kwargs"] = {"enable_thinking": setting.thinking.mode == "on"}
    if with_tools and not setting.calls.parallel:
        # Asked for only where it is wanted: not every engine knows the word.
        parameters["parallel_tool_calls"] = False
    return parameters
