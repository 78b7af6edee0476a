"""`dyno compare`: two stored runs, or two sets of them, on every metric."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


def compare(
    pair: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[A B]",
            help="Two runs by id, beginning, folder or 'latest'; with a pattern ('20261120-*') all that are like it.",
            show_default=False,
        ),
    ] = None,
    a: Annotated[list[str] | None, typer.Option("--a", help="A run of side A; repeatable, in place of A B.")] = None,
    b: Annotated[list[str] | None, typer.Option("--b", help="A run of side B, likewise.")] = None,
    although: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare although this fact differs: model, engine, build, options, machine, versions, sandbox, "
            "fidelity, start, content, or one by its full name; repeatable."
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/compare.schema.json) instead of the report.")
    ] = False,
    benchstat: Annotated[
        bool, typer.Option("--benchstat", help="Print the measurements as text that benchstat -col arm reads.")
    ] = False,
) -> None:
    """Compare what was measured already: B against A on every metric, with interval and n.

    Paired by the sessions or tasks that both hold. Refuses runs whose engine, model, machine, fidelity, sandbox or
    beginning differ, and says which. To find out which of two settings is better, dyno ab measures both by turns.
    """
    from harness.cli.compare_run import run_compare

    words = pair or []
    if json_output and benchstat:
        raise typer.BadParameter("--json and --benchstat exclude each other")
    if (len(words) == 2) == bool(a or b) or (bool(a) != bool(b)) or len(words) not in (0, 2):
        raise typer.BadParameter("name two runs, or both sides with --a and --b")
    run_compare(
        runs,
        tuple(a or words[:1]),
        tuple(b or words[1:]),
        although=tuple(although or ()),
        json_output=json_output,
        benchstat=benchstat,
    )
