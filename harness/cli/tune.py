"""`dyno tune`: which setting of harness and server is best for this engine and work, by a sequence of experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


def tune(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SETTING|PLAN",
            help="The current setting, by name or file; or a plan: a name of profiles/tuning, or a .toml file.",
        ),
    ] = "plain",
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="A lever with its levels: prompt.volatile=none,clock, target.slots=1,2; repeatable. default: "
            "without that option of the server.",
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Levels that do not go together: lever=level,lever=level; repeatable.", show_default=False),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks to tune on: packs, the first N of one, or single tasks.", show_default=False),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            help="Tasks to confirm on (default: the held-out tasks of the packs that are tuned on).",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="The engine.", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(help="Who does the work, as for dyno run.", show_default=False)] = None,
    rehearse: Annotated[
        bool,
        typer.Option("--rehearse", help="Race and confirm by rehearsals too: what settings cost, not what they do."),
    ] = False,
    budget: Annotated[
        float | None, typer.Option(min=0.01, help="Minutes of engine time (default: 60).", show_default=False)
    ] = None,
    primary: Annotated[
        str | None, typer.Option(help="The metric that decides (default: time_to_success_s).", show_default=False)
    ] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(help="A metric that must not get worse (default: success); repeatable.", show_default=False),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=0.999, help="What is better by less does not matter (default: 0.02).", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of order and draws (default: 0).", show_default=False)
    ] = None,
    pauses: Annotated[
        int | None,
        typer.Option(
            min=0, help="How often a machine that has drifted is left alone for 20 s (default: 3).", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the chosen setting is called (default: tuned).", show_default=False)
    ] = None,
    no_simulation: Annotated[
        bool, typer.Option("--no-simulation", help="Do not predict settings by the modelled cache.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(help="Go on with a tuning: its id, the beginning of it, or 'latest'.", show_default=False),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan and what it costs; run nothing.")] = False,
    no_sandbox: Annotated[
        bool, typer.Option("--unsafe-no-sandbox", help="Run what the model writes without confinement.")
    ] = False,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/tune.schema.json) instead of the report.")
    ] = False,
) -> None:
    """Find a better setting: simulate, screen by rehearsals, race what is left, confirm the winner on held-out tasks.

    Plan and cost are shown first. Ctrl-C and kill lose at most the dispatch at work: --resume goes on. A setting that
    held-out tasks show to be better is written as a file; else it says that there is no better one.
    """
    from harness.cli.tune_plan import TuneAsked
    from harness.cli.tune_run import run_tune

    run_tune(
        TuneAsked(
            what=what,
            vary=tuple(vary or ()),
            exclude=tuple(exclude or ()),
            tasks=tasks,
            held_out=held_out,
            target=target,
            agent=agent,
            rehearse=rehearse,
            budget_min=budget,
            primary=primary,
            guards=tuple(guard) if guard else None,
            margin=margin,
            seed=seed,
            pauses=pauses,
            name=name,
            simulated=not no_simulation,
            runs=runs,
        ),
        resume=resume,
        plan_only=plan,
        no_sandbox=no_sandbox,
        json_output=json_output,
    )
