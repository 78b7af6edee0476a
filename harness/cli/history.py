"""`dyno history`: runs in order of time, with their key figures and how these changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


def history(
    model: Annotated[
        str | None, typer.Option(help="Only runs of models with this in their name; * stands for any text.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Only runs of targets with this in their name, likewise.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="What to show; repeatable: cached_share, lost_s, lost_tokens, prefill_tokens_per_s, "
            "decode_tokens_per_s, ttft_s, time_to_success_s, passed_share, peak_memory_bytes."
        ),
    ] = None,
    although: Annotated[
        list[str] | None,
        typer.Option(
            help="A fact that may differ between runs and their earlier ones: build, versions, …; repeatable."
        ),
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="Show this many runs, the last ones; trends look at all.")] = 30,
    index: Annotated[
        bool, typer.Option("--index", help="First keep the tables of every run that has none, as Parquet beside it.")
    ] = False,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/history.schema.json) instead of the table.")
    ] = False,
) -> None:
    """Show stored runs in order of time, each figure against the median of earlier runs that it can be compared with.

    Comparable is the same work under the same setting, on the same engine, model and machine.
    """
    from harness.cli.history_run import keep_all, show_history

    if index:
        keep_all(runs)
    show_history(
        runs,
        model=model,
        target=target,
        metrics=tuple(metric or ()),
        although=tuple(although or ()),
        last=last,
        json_output=json_output,
    )
