"""`dyno explain`: why a stored run lost what it lost, in seconds and by cause, and what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


def explain(
    run: Annotated[str, typer.Argument(help="Run id, its beginning, its folder, or 'latest'.")] = "latest",
    worst: Annotated[int, typer.Option(help="Show this many of the costliest requests; -1 for all.")] = 5,
    session: Annotated[
        list[str] | None, typer.Option("--session", "-s", help="Only this session of the run; repeatable.")
    ] = None,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/explain.schema.json) instead of the report.")
    ] = False,
) -> None:
    """Say why a run lost cached tokens: the seconds by cause, the worst requests with their difference, the fixes."""
    from harness.cli.explain_run import explanation_of
    from profiler.report.causes import print_explanation
    from profiler.run_names import find_run

    path = find_run(runs, run)
    print_explanation(explanation_of(path, worst=worst, sessions=session), path, json_output=json_output)
