"""`dyno run`: one dispatch of an agent on a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


def run(
    task: Annotated[str, typer.Argument(help="pack/instance (dyno tasks lists them), or a task's folder.")],
    target: Annotated[
        str | None,
        typer.Option(
            "--target", "-t", help="The engine: a name of dyno targets, or engine:model?key=value.", show_default=False
        ),
    ] = None,
    harness: Annotated[
        str, typer.Option("--harness", "-H", help="Harness setting: a name (see docs/settings.md) or a .toml file.")
    ] = "plain",
    levers: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one lever, for example skills.bytes=51000; repeatable.", show_default=False),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            help="Who does the work: the built-in agent (default), a scripted one (oracle, nop, tamper, placeholder), "
            'or the command of another agent: "pi --print {instruction}".',
            show_default=False,
        ),
    ] = None,
    rehearse: Annotated[
        bool,
        typer.Option("--rehearse", help="Force a scripted agent's steps (default: oracle) on the real engine."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Contents of the task; the same seed gives the same task.")] = 0,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 unless the work passes.")] = False,
    readable: Annotated[
        list[Path] | None, typer.Option(help="A folder that another agent may read; repeatable.", show_default=False)
    ] = None,
    writable: Annotated[
        list[Path] | None, typer.Option(help="A folder that another agent may write; repeatable.", show_default=False)
    ] = None,
    agent_env: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE for another agent's environment; {base_url}, {model}, … are filled in.", show_default=False
        ),
    ] = None,
    agent_file: Annotated[
        list[str] | None,
        typer.Option(
            help="PATH=TEMPLATE: a file below another agent's HOME, made of a template with {base_url}, {model}, …",
            show_default=False,
        ),
    ] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--unsafe-no-sandbox", help="Run what the model writes without confinement.")
    ] = False,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/run.schema.json) instead of the report.")
    ] = False,
) -> None:
    """Let an agent work on a task, and record what it cost, what its cache lost and why, and what it was worth.

    Commands that a model writes run in a sandbox without network. Ctrl-C keeps what was done.
    """
    from harness.cli.dispatch_run import RunOrder, run_task

    passed = run_task(
        RunOrder(
            task=task,
            target=target,
            harness=harness,
            levers=tuple(levers or ()),
            agent=agent,
            rehearse=rehearse,
            seed=seed,
            readable=tuple(readable or ()),
            writable=tuple(writable or ()),
            agent_env=tuple(agent_env or ()),
            agent_files=tuple(agent_file or ()),
            no_sandbox=no_sandbox,
            runs=runs,
            json_output=json_output,
        )
    )
    if check and not passed:
        raise typer.Exit(1)
