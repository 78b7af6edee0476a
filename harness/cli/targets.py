"""`dyno targets`: list the targets that are there by name, show one with every option of its engine, or check it."""

from __future__ import annotations

from typing import Annotated

import typer


def targets(
    target: Annotated[
        str | None,
        typer.Argument(help="A name, the path of a .toml file, or engine:model?key=value.", show_default=False),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it could be opened. Launches nothing, asks no server.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the targets that can be used by name; with one, show it with every option of its engine."""
    from harness.cli.target_list import list_targets, show_target, tell_check

    if target is None:
        list_targets(json_output=json_output)
    elif check:
        tell_check(target, json_output=json_output)
    else:
        show_target(target, json_output=json_output)
