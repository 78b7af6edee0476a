"""`dyno sessions`: list the bundled agent sessions, or write variants of them from their generator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sessions(
    write: Annotated[Path | None, typer.Option(help="Write generated sessions into this folder.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 7,
    turns: Annotated[int | None, typer.Option(min=2, max=1000, help="Turns of each; default: as bundled.")] = None,
    scale: Annotated[float, typer.Option(min=0.05, max=100.0, help="Length of tool results, as a factor.")] = 1.0,
    json_output: Annotated[bool, typer.Option("--json", help="Print the list as one JSON object.")] = False,
) -> None:
    """List the bundled sessions and what each provokes, or write others of other length and seed."""
    from harness.cli.session_list import list_sessions, write_sessions

    if write is not None:
        write_sessions(write, kind or [], seed=seed, turns=turns, scale=scale)
    else:
        list_sessions(kind or [], json_output=json_output)
