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
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List task packs and their instances; with one, show what an agent is asked and what it finds."""
    from harness.cli.task_list import list_tasks, show_task, write_task
    from harness.tasks.registry import list_packs

    if task is None or task in {pack.id for pack in list_packs()}:
        list_tasks(task, json_output=json_output)
    elif write is not None:
        write_task(task, seed, write)
    else:
        show_task(task, seed, json_output=json_output)
