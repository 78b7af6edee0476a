"""`dyno tasks`: list the task packs, show a task as an agent gets it, or write its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tasks(
    task: Annotated[
        str | None, typer.Argument(help="A pack, a task (pack/instance), or a task's folder.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives the same kind of task with other contents.")] = 0,
    write: Annotated[
        Path | None, typer.Option("--write", help="Write the task's folder here: to read it, or to make one's own.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Let the scripted agents work on it: do they score as declared, are the cheats caught?"
        ),
    ] = False,
    no_sandbox: Annotated[
        bool, typer.Option("--unsafe-no-sandbox", help="With --check: run commands without confinement.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List task packs and their instances; with one, show what an agent is asked and what it finds."""
    from harness.cli.task_list import check_tasks, list_tasks, show_task, write_task
    from harness.tasks.registry import list_packs

    if check:
        if not check_tasks(task, seed, allow_none=no_sandbox, json_output=json_output):
            raise typer.Exit(1)
    elif task is None or task in {pack.id for pack in list_packs()}:
        list_tasks(task, json_output=json_output)
    elif write is not None:
        write_task(task, seed, write)
    else:
        show_task(task, seed, json_output=json_output)
