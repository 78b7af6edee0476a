"""`dyno export`: what is stored in the forms that other programs read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


class Form(StrEnum):
    """What is written; of tables also how their files end."""

    LEVELS = "levels"
    ATIF = "atif"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    OTEL = "otel"


def export(
    form: Annotated[
        Form,
        typer.Argument(
            help="levels: FOLDER/<model>/<level>/ with reply, code and result; atif: a trajectory each; "
            "json, csv, parquet: a file for each table (dyno sql shows them); otel: OpenTelemetry spans of each run."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Where to write; it may be there already.")],
    run: Annotated[
        list[str] | None, typer.Argument(help="Runs by id, beginning, folder or 'latest'. Default: all.")
    ] = None,
    content: Annotated[
        bool, typer.Option("--content", help="With otel: also replies, and arguments and results of tools.")
    ] = False,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
) -> None:
    """Write what is stored for other programs: tables, spans, trajectories in ATIF, or the replies to coding levels."""
    if form in (Form.JSON, Form.CSV, Form.PARQUET, Form.OTEL):
        from harness.cli.export_tables import export_spans, export_tables

        if form is Form.OTEL:
            export_spans(runs, tuple(run or ()), folder, content=content)
        else:
            export_tables(runs, tuple(run or ()), folder, form)
        return
    from harness.cli.export_run import export_atif, export_level_replies
    from profiler.run_names import find_run, list_runs

    paths = [find_run(runs, name) for name in run] if run else list(list_runs(runs))
    if form is Form.LEVELS:
        export_level_replies(paths, folder)
    else:
        export_atif(paths, folder)
