"""The levers themselves: one frozen struct for each table of a setting's file, with their defaults. Reads nothing.

What each lever does, and what it is expected to do to the cache, is told in `docs/settings.md`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = [
    "SCHEMA",
    "Calls",
    "History",
    "Limits",
    "Loop",
    "Prompt",
    "Sampling",
    "Scaffolding",
    "Setting",
    "Skills",
    "TaskLevers",
    "TestLevers",
    "Thinking",
]

SCHEMA = 1

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class TaskLevers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the work is put: `scope` is how narrowly, `persona` the text that opens the system prompt (a name in
    `profiles/personas` or a file; empty: none).
    """

    scope: Literal["bounded", "open", "broad"] = "bounded"
    persona: str = "engineer"


class Skills(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Skill texts in the system prompt: whole sections of real files until `bytes` are reached (`harness.skills`).

    They are `relevant` to the task's pack, or `bloat`. `files` names them instead, by name or path; all of them if
    `bytes` is 0.
    """

    bytes: _Count = 0
    kind: Literal["relevant", "bloat"] = "relevant"
    files: tuple[str, ...] = ()


class TestLevers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much a call of the `test` tool runs, whatever the model asks for: `test` one test, `file` its file, `suite`
    everything.
    """

    granularity: Literal["suite", "file", "test"] = "file"


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What else is in the prompt and whether it stays as it is.

    `volatile` is text that is new in every request, at `volatile_at`. `tool_order` shuffled: anew in every request.
    `call_ids` random: as an engine gives them, instead of counted.
    """

    volatile: Literal["none", "clock", "counter", "cwd"] = "none"
    volatile_at: Literal["system_start", "system_end", "last_message"] = "system_start"
    tool_order: Literal["fixed", "shuffled"] = "fixed"
    call_ids: Literal["counted", "random"] = "counted"


class Scaffolding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tools that hold an agent's own state: a todo list, a plan, a scratchpad."""

    todo: bool = False
    planner: bool = False
    scratchpad: bool = False


class History(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to a history that grows: `keep` it, `drop_oldest` turns, `clear_results` of old tool calls, or
    `summarise` it by a `compactor` (`self`: the same engine; else a target).

    It happens when a prompt has more than `at_share` of the context, and leaves the last `keep_turns` turns.
    """

    policy: Literal["keep", "drop_oldest", "clear_results", "summarise"] = "keep"
    at_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.75
    keep_turns: _Positive = 4
    compactor: str = "self"


class Thinking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the model is asked to think (`default`: nothing is said), and whether what it thought stays in the
    history: `kept`, or `stripped` of all turns before the last.
    """

    mode: Literal["default", "on", "off"] = "default"
    history: Literal["kept", "stripped"] = "kept"


class Calls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How tool calls are made and what their results may cost.

    `parallel`: several calls of one turn are run; else the first alone, and the model is told. `rescue`: calls that are
    written as text are taken. `retry`: what follows a malformed call: the error is fed back (`error_fed`), the same
    request is sent again (`blind`), or the dispatch ends (`none`). `output_bytes` is the longest result that is shown.
    """

    parallel: bool = True
    rescue: bool = False
    retry: Literal["none", "blind", "error_fed"] = "error_fed"
    max_format_errors: _Positive = 3
    output_bytes: _Positive = 16_000


class Loop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The loop guard: `off`, a `warning` to the model after `repeats` equal calls with equal results, or the `end`."""

    guard: Literal["off", "warn", "stop"] = "stop"
    repeats: Annotated[int, msgspec.Meta(ge=2)] = 4


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a dispatch ends by itself. `tokens` counts what was generated; `tool_s` is for one call."""

    turns: _Positive = 40
    tokens: _Positive = 100_000
    wall_s: _Seconds = 1800.0
    tool_s: _Seconds = 120.0
    reply_tokens: _Positive = 4096


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How tokens are chosen. `None`: the engine's own default, which is then part of what is compared."""

    temperature: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    seed: int | None = None


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All levers of a harness. `target` overrides options of the target: its context, slots, KV type."""

    title: str = ""
    task: TaskLevers = TaskLevers()
    skills: Skills = Skills()
    tests: TestLevers = TestLevers()
    prompt: Prompt = Prompt()
    scaffolding: Scaffolding = Scaffolding()
    history: History = History()
    thinking: Thinking = Thinking()
    calls: Calls = Calls()
    loop: Loop = Loop()
    limits: Limits = Limits()
    sampling: Sampling = Sampling()
    target: dict[str, str | int | float | bool] = {}
    schema: int = SCHEMA
