"""`dyno sql`: one question to all stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


def sql(
    question: Annotated[
        str | None, typer.Argument(help="One SELECT in DuckDB's SQL. Without it: the views and their columns.")
    ] = None,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/sql.schema.json) instead of the table.")
    ] = False,
    csv_output: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of it.")] = False,
) -> None:
    """Ask all stored runs in SQL: runs, requests, verdicts, dispatches, turns, calls, losses, memory. Reads only."""
    from harness.cli.history_run import ask, show_columns

    if json_output and csv_output:
        raise typer.BadParameter("--json and --csv exclude each other")
    if question is None:
        show_columns()
    else:
        ask(question, runs, json_output=json_output, csv_output=csv_output)
