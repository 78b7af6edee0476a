"""`dyno fix`: what levers are predicted to save, and with `--apply`, beside it, what they do save."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


def fix(
    run: Annotated[str, typer.Argument(help="Run id, its beginning, its folder, or 'latest'.")] = "latest",
    apply: Annotated[
        bool, typer.Option("--apply", help="Replay the sessions with the levers set, and without, and compare.")
    ] = False,
    lever: Annotated[
        list[int] | None, typer.Option("--lever", help="Only the lever with this number; repeatable.")
    ] = None,
    cause: Annotated[
        list[str] | None, typer.Option("--cause", help="Only levers against this cause (P1, E2, …); repeatable.")
    ] = None,
    baseline: Annotated[
        bool, typer.Option(help="Replay the unchanged sessions too, else compare with the stored run.")
    ] = True,
    all_sessions: Annotated[
        bool, typer.Option("--all-sessions", help="Replay every session of the run, not only those with these causes.")
    ] = False,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/fix.schema.json) instead of the report.")
    ] = False,
) -> None:
    """Predict what a change would save, make it, and show predicted and measured side by side.

    Only what dyno can set is tried: launch options, request keys, and changes of a harness that a rewritten session
    stands for. Ctrl-C keeps and reports what was measured.
    """
    from harness.cli.fix_run import FixAsked, run_fix
    from harness.fixing.plan import Wanted

    wanted = Wanted(tuple(lever or ()), tuple(code.upper() for code in cause or ()), all_sessions)
    run_fix(FixAsked(run, runs, wanted, apply=apply, baseline=baseline, json_output=json_output))
