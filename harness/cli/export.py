"""`dyno export`: dispatches in the forms that other programs read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


class Form(StrEnum):
    """What is written."""

    LEVELS = "levels"
    ATIF = "atif"


def export(
    form: Annotated[
        Form,
        typer.Argument(help="levels: FOLDER/<model>/<level>/ with reply, code and result; atif: a trajectory each."),
    ],
    folder: Annotated[Path, typer.Argument(help="Where to write; it may be there already.")],
    run: Annotated[
        list[str] | None, typer.Argument(help="Runs by id, beginning, folder or 'latest'. Default: all.")
    ] = None,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
) -> None:
    """Write stored dispatches for other programs: the replies to coding levels, or trajectories in ATIF."""
    from harness.cli.export_run import export_atif, export_level_replies
    from profiler.run_names import find_run, list_runs

    paths = [find_run(runs, name) for name in run] if run else list(list_runs(runs))
    if form is Form.LEVELS:
        export_level_replies(paths, folder)
    else:
        export_atif(paths, folder)
