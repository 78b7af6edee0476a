"""`dyno report`: show a stored run again, also one that was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import JSON_HELP, RUNS_HELP


def report(
    run: Annotated[str, typer.Argument(help="Run id, its beginning, its folder, or 'latest'.")] = "latest",
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Show a stored run: verdict, table, doubts. A run that was killed shows everything that had finished."""
    from harness.cli.cache_run import document_of
    from harness.cli.dispatch_report import print_dispatches
    from profiler.dispatch_store import holds_dispatches
    from profiler.report.cache import print_document
    from profiler.run_names import find_run

    path = find_run(runs, run)
    if holds_dispatches(path):
        print_dispatches(path, json_output=json_output)
    else:
        print_document(document_of(path), path, json_output=json_output)
