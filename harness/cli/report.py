"""`dyno report`: show a stored run or experiment again, also one that was killed; as text, as a page, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import JSON_HELP, RUNS_HELP


def report(
    run: Annotated[
        str, typer.Argument(help="Run or experiment: its id, its beginning, its folder, or 'latest'.")
    ] = "latest",
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    html: Annotated[
        bool,
        typer.Option("--html", help="Write a page that needs no network, into the run's folder unless --out is given."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the page to this file.", show_default=False)] = None,
    png: Annotated[
        Path | None, typer.Option(help="Write every chart as .png and .svg to this folder.", show_default=False)
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Show a stored run: verdict, table, doubts. A run that was killed shows everything that had finished."""
    from harness.cli.report_run import print_stored, stored_of, write_stored

    stored = stored_of(runs, run)
    page = out or (stored.path / "report.html" if html else None)
    if page is None and png is None:
        print_stored(stored, json_output=json_output)
    else:
        write_stored(stored, page, png)
