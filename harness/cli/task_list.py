"""List task packs, show one task as an agent gets it, or write its folder. The work behind `dyno tasks`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.sandbox.choice import choose
from harness.task_checks import TaskCheck, check_task
from harness.tasks.base import Task
from harness.tasks.registry import Pack, find_task, instruction, list_packs, materialise
from harness.workspace import files_of
from profiler.report.json_document import print_json

__all__ = ["check_tasks", "list_tasks", "show_task", "write_task"]


class ShownTask(msgspec.Struct, frozen=True):
    """A task in full, as `--json` prints it: its instruction by scope, the files that the agent sees, their bytes."""

    name: str
    pack: str
    seed: int
    title: str
    difficulty: str
    held_out: bool
    scopes: tuple[str, ...]
    tools: tuple[str, ...]
    instructions: dict[str, str]
    workspace: dict[str, int]
    protected: tuple[str, ...]
    allowed: tuple[str, ...]
    agent_timeout_s: float
    sha256: str


def list_tasks(pack_name: str | None, *, json_output: bool) -> None:
    """Print every pack with its instances, or one of them."""
    packs = [pack for pack in list_packs() if pack_name in (None, pack.id)]
    if json_output:
        print_json({"packs": packs})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("pack", no_wrap=True)
    table.add_column("instances", ratio=2, overflow="fold")
    table.add_column("what it asks for", ratio=3, overflow="fold")
    for pack in packs:
        table.add_row(pack.id, Text(_instances(pack)), Text(f"{pack.title}. {pack.description}".strip()))
    console = Console(highlight=False)
    console.print(table)
    console.print(Text("* held out: for confirming what was tuned on the others", style="dim"))
    console.print(Text("dyno tasks PACK/INSTANCE shows one · dyno run PACK/INSTANCE --target T runs it", style="dim"))


def show_task(name: str, seed: int, *, json_output: bool) -> None:
    """Print one task: what is asked in each scope, and what the agent finds.

    Raises:
        TaskError: no such task, or one that cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="dyno-task-") as place:
        shown = _shown(materialise(name, seed, Path(place) / "task"))
    if json_output:
        print_json(shown)
        return
    console = Console(highlight=False)
    about = ", ".join(filter(None, (shown.difficulty, "held out" if shown.held_out else "")))
    console.print(Text(f"{shown.name}  {shown.title}" + (f" ({about})" if about else ""), style="bold"))
    console.print(Text(f"scopes: {', '.join(shown.scopes)} · tools: {', '.join(shown.tools) or 'none'}"))
    for name_, size in shown.workspace.items():
        console.print(Text(f"  {size:>7,} B  {name_}", style="dim"))
    for scope, text in shown.instructions.items():
        console.print(Text(f"\n{scope}:", style="bold"))
        console.print(Text(text.strip()))


def write_task(name: str, seed: int, folder: Path) -> None:
    """Write a task's folder, to look at it, or to change it and run it by its path.

    Raises:
        TaskError: no such task, or the folder is not empty.
    """
    task = materialise(name, seed, folder)
    Console(highlight=False).print(Text(f"{task.name} is in {folder}; run it with: dyno run {folder} --target T"))


def check_tasks(name: str | None, seed: int, *, allow_none: bool, json_output: bool) -> bool:
    """Check one task, the tasks of a pack, or all; whether every one is as it declares. Each is told as it is done.

    Raises:
        TaskError: no such task or pack.
        SandboxError: nothing here confines commands.
    """
    named = [f"{pack.id}/{instance}" for pack in list_packs() if name in (None, pack.id) for instance in pack.instances]
    sandbox, capabilities = choose(allow_none=allow_none)
    console, checks = Console(highlight=False), list[TaskCheck]()
    for one in named or [find_task(name or "").name if not Path(name or "").is_dir() else name or ""]:
        check = check_task(one, seed, sandbox, capabilities)
        checks.append(check)
        if not json_output:
            console.print(_checked(check))
    if json_output:
        print_json({"checks": checks})
    return all(check.ok for check in checks)


def _checked(check: TaskCheck) -> Text:
    line = Text.assemble(("held  " if check.ok else "FAULT ", "green" if check.ok else "bold red"), f"{check.task}")
    scores = [f"{one.agent} {one.score:.2f}" if one.score is not None else f"{one.agent} ?" for one in check.agents]
    line.append(f"  {', '.join(dict.fromkeys(scores))}", style="dim")
    for one in check.agents:
        if one.fault is not None:
            line.append(f"\n      {one.agent} ({one.scope}): {one.fault}", style="yellow")
    return line


def _instances(pack: Pack) -> str:
    """The instances, those of one kind together: `select-1 … select-6`."""
    kinds: dict[str, list[str]] = {}
    for name in pack.instances:
        kind, dash, number = name.rpartition("-")
        kinds.setdefault(kind if dash and number.isdigit() else name, []).append(name)
    return ", ".join(_span(pack, names) for names in kinds.values())


def _span(pack: Pack, names: list[str]) -> str:
    held_out = [f"{name}*" for name in names if name in pack.held_out]
    if len(names) <= 2:
        return ", ".join(f"{name}*" if name in pack.held_out else name for name in names)
    return f"{names[0]} … {names[-1]}" + (f" ({', '.join(held_out)})" if held_out else "")


def _shown(task: Task) -> ShownTask:
    workspace = task.folder / "workspace"
    return ShownTask(
        name=task.name,
        pack=task.pack,
        seed=task.seed,
        title=task.title,
        difficulty=task.difficulty,
        held_out=task.held_out,
        scopes=task.harness.scopes,
        tools=() if task.harness.single_shot else task.harness.tools,
        instructions={scope: instruction(task, scope) for scope in task.harness.scopes},
        workspace={name: path.stat().st_size for name, path in files_of(workspace).items()},
        protected=task.harness.protected,
        allowed=task.harness.allowed,
        agent_timeout_s=task.agent_timeout_s,
        sha256=task.sha256,
    )
