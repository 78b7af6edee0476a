"""Toolbench's tools: they read the task's hidden world, and write each call into a ledger for the verifier.

Nothing is done for real, and the workspace is not touched. What a call brings is decided in `world`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from backends.base import JsonObject
from harness.tasks.base import Call, Task, TaskError
from harness.tasks.toolbench.catalogue import EFFECTS, SCHEMAS
from harness.tasks.toolbench.world import World, answer
from harness.tools.base import Tool, ToolResult
from profiler.dispatch_records import Effect

__all__ = ["make_tools"]


@dataclass
class _Visit:
    """One dispatch's visit to the world: what was called so far, and where that is written down."""

    world: World
    ledger: Path | None
    calls: list[Call] = field(default_factory=list[Call])

    def ask(self, call: Call) -> tuple[str, bool]:
        if call.name == "submit":
            text, ok = "submitted", True
        else:
            text, ok = answer(self.world, call, tuple(self.calls))
        self.calls.append(call)
        if self.ledger is not None:
            row = {"name": call.name, "arguments": call.arguments, "ok": ok, "answer": text}
            with self.ledger.open("a", encoding="utf-8") as ledger:
                ledger.write(json.dumps(row, ensure_ascii=False) + "\n")
        return text, ok


@dataclass
class _BenchTool:
    name: str
    effect: Effect
    schema: JsonObject
    visit: _Visit

    def run(self, arguments: JsonObject) -> ToolResult:
        text, ok = self.visit.ask(Call(self.name, arguments))
        return ToolResult(text, ok=ok, finished=self.name == "submit")


def make_tools(task: Task, workspace: Path, ledger: Path | None) -> tuple[Tool, ...]:
    """The tools that the task offers, in its order, for one dispatch: they remember what was called.

    Args:
        task: the materialised task; its `hidden/world.json` is what can be known.
        workspace: not used; toolbench has nothing to do with files.
        ledger: JSON lines that each call is appended to: `name`, `arguments`, `ok`, `answer`;
            `None`: none is kept, and no verifier can score the calls.

    Raises:
        TaskError: the task's world cannot be read, or it names a tool that toolbench does not have.
    """
    path = task.folder / "hidden" / "world.json"
    try:
        world = msgspec.json.decode(path.read_bytes(), type=World)
    except (OSError, msgspec.MsgspecError) as error:
        raise TaskError(f"task {task.name}: {path.name}: {error}", "build the task's folder again") from error
    unknown = next((name for name in task.harness.tools if name not in SCHEMAS), None)
    if unknown is not None:
        raise TaskError(f"task {task.name} names a tool that toolbench does not have: {unknown}", ", ".join(SCHEMAS))
    visit = _Visit(world, ledger)
    return tuple(_BenchTool(name, EFFECTS[name], SCHEMAS[name], visit) for name in task.harness.tools)
