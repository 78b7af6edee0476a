"""Which tools a dispatch has: those that its task names, or its pack's own, and the scaffolding of its setting."""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from harness.sandbox.base import Policy, Sandbox
from harness.settings import Setting
from harness.tasks.base import Task, TaskError
from harness.tools.base import Tool
from harness.tools.files import edit_tool, grep_tool, list_tool, read_tool, write_tool
from harness.tools.paths import Workspace
from harness.tools.scaffolding import Plan, Scratchpad, Todo
from harness.tools.shell import Bash
from harness.tools.submit import Submit
from harness.tools.tests import Testing, granularity_in_force

__all__ = ["TOOLS", "command_policy", "make_toolset"]

TOOLS = ("read", "list", "grep", "edit", "write", "bash", "test", "submit")
"""The standard tools, in the order in which they are offered."""


class _Pack(Protocol):
    def make_tools(self, task: Task, workspace: Path, ledger: Path | None) -> tuple[Tool, ...]: ...


def make_toolset(
    task: Task, setting: Setting, workspace: Path, sandbox: Sandbox, ledger: Path | None = None
) -> tuple[Tool, ...]:
    """The tools of a dispatch, in the order in which they are offered.

    Args:
        task: names its tools, or the pack whose `tools.make_tools` makes them.
        setting: the granularity of tests, the time of a call, the scaffolding.
        workspace: the folder that the agent works in.
        sandbox: where commands and tests run.
        ledger: where a pack's own tools write down what they were asked, for the verifier.

    Raises:
        TaskError: the task names a tool that there is not, tests without a command, or a pack without tools.
    """
    tools = _of_pack(task, workspace, ledger) if task.harness.toolset else _standard(task, setting, workspace, sandbox)
    levers = setting.scaffolding
    scaffolding: tuple[tuple[bool, Callable[[], Tool]], ...]
    scaffolding = ((levers.todo, Todo), (levers.planner, Plan), (levers.scratchpad, Scratchpad))
    return (*tools, *(make() for wanted, make in scaffolding if wanted))


def command_policy(task: Task, setting: Setting, workspace: Path) -> Policy:
    """What a command of the agent may do: `limits.tool_s` long, in the workspace, loopback if the task needs it."""
    wall_s = setting.limits.tool_s
    return Policy(
        workspace=workspace.resolve(),
        network="loopback" if task.harness.loopback else "none",
        wall_s=wall_s,
        cpu_s=math.ceil(wall_s),
    )


def _standard(task: Task, setting: Setting, workspace: Path, sandbox: Sandbox) -> tuple[Tool, ...]:
    place, policy = Workspace(workspace), command_policy(task, setting, workspace)

    def testing() -> Tool:
        granularity = granularity_in_force(task.harness.tests, setting.tests.granularity)
        if granularity is None:
            raise TaskError(f"task {task.name} has a test tool, but no command for it", "give harness.tests.suite")
        return Testing(task.harness.tests, granularity, place, sandbox, policy)

    makers: dict[str, Callable[[], Tool]] = {
        "read": lambda: read_tool(place),
        "list": lambda: list_tool(place),
        "grep": lambda: grep_tool(place),
        "edit": lambda: edit_tool(place),
        "write": lambda: write_tool(place),
        "bash": lambda: Bash(place, sandbox, policy),
        "test": testing,
        "submit": Submit,
    }
    for name in task.harness.tools:
        if name not in makers:
            near = difflib.get_close_matches(name, TOOLS, 1)
            hint = f"did you mean {near[0]}?" if near else f"tools: {', '.join(TOOLS)}"
            raise TaskError(f"task {task.name} asks for an unknown tool {name!r}", hint)
    return tuple(makers[name]() for name in task.harness.tools)


def _of_pack(task: Task, workspace: Path, ledger: Path | None) -> tuple[Tool, ...]:
    name = f"harness.tasks.{task.harness.toolset}.tools"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise TaskError(f"task {task.name} asks for the tools of {task.harness.toolset!r}, which has none") from error
    return cast("_Pack", module).make_tools(task, workspace, ledger)
