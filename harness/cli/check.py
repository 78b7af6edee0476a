"""`dyno check`: a gate for CI. Exit code 1, with the causes, where a run is worse than the thresholds allow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP

FINDING = 1


def check(
    run: Annotated[str, typer.Argument(help="Run id, its beginning, its folder, or 'latest'.")] = "latest",
    max_full_miss: Annotated[
        float | None, typer.Option(min=0, max=100, help="Highest share of full misses among continuations, percent.")
    ] = None,
    min_reuse: Annotated[
        float | None, typer.Option(min=0, max=100, help="Lowest share of the reusable tokens that was reused, percent.")
    ] = None,
    max_lost_s: Annotated[
        float | None, typer.Option(min=0, help="Most seconds of prefill lost in one session replay, by all causes.")
    ] = None,
    session: Annotated[
        list[str] | None, typer.Option("--session", "-s", help="Only this session of the run; repeatable.")
    ] = None,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/check.schema.json) instead of the report.")
    ] = False,
) -> None:
    """Compare a stored run with thresholds, and exit with 1 where one is broken.

    Without thresholds: full misses of at most 5 %, and 95 % reused. What a run cannot tell breaks a threshold: a gate
    that passes for want of figures guards nothing.
    """
    from harness.cli.explain_run import explained
    from profiler.check import Thresholds, check_run
    from profiler.report.check import print_check
    from profiler.run_names import find_run

    path = find_run(runs, run)
    thresholds = Thresholds.of_percent(max_full_miss, min_reuse, max_lost_s)
    document = check_run(*explained(path, sessions=session), thresholds)
    print_check(document, path, json_output=json_output)
    if not document.passed:
        raise typer.Exit(FINDING)
