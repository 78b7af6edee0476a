"""`dyno ab`: which of two or more arms is better, and whether that is to be believed. `dyno aa`: how much is noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.cache import RUNS_HELP

_Tasks = Annotated[
    str | None,
    typer.Option(
        help="Packs, the first N of one, or single tasks: testgap,debug:2,levels/03-mixed-units.", show_default=False
    ),
]
_Target = Annotated[
    str | None,
    typer.Option("--target", "-t", help="The engine of all arms that name none with @TARGET.", show_default=False),
]
_Agent = Annotated[
    str | None,
    typer.Option(help="Who does the work, as for dyno run.", show_default=False),
]
_Rehearse = Annotated[
    bool, typer.Option("--rehearse", help="Force a scripted agent's steps (default: oracle) on the real engine.")
]
_Simulate = Annotated[
    bool,
    typer.Option(
        "--simulate", help="Model the engine's cache and play a scripted agent on it: tokens, and no engine is asked."
    ),
]
_Blocks = Annotated[
    int | None, typer.Option(min=1, help="How often every arm does every task (default: 2).", show_default=False)
]
_Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the order (default: 0).", show_default=False)]
_Cache = Annotated[
    Literal["cold", "warm-within", "carry"] | None,
    typer.Option(help="What the engine holds when a dispatch begins (default: warm-within).", show_default=False),
]
_Primary = Annotated[
    str | None,
    typer.Option(help="The metric that decides (default: time_to_success_s).", show_default=False),
]
_Margin = Annotated[
    float | None,
    typer.Option(
        min=0.001, max=0.999, help="Times within this ratio count as equivalent (default: 0.05).", show_default=False
    ),
]
_Pauses = Annotated[
    int | None,
    typer.Option(
        min=0, help="How often a machine that has drifted is left alone for 20 s (default: 3).", show_default=False
    ),
]
_StopEarly = Annotated[
    bool | None,
    typer.Option(
        "--stop-early",
        help="Look after every pair, and run an arm no more once it is decided (docs/statistics.md).",
        show_default=False,
    ),
]
_Resume = Annotated[
    str | None,
    typer.Option(help="Go on with an experiment: its id, the beginning of it, or 'latest'.", show_default=False),
]
_PlanOnly = Annotated[bool, typer.Option("--plan", help="Show the plan and what it can detect; run nothing.")]
_NoSandbox = Annotated[bool, typer.Option("--unsafe-no-sandbox", help="Run what the model writes without confinement.")]
_Runs = Annotated[Path, typer.Option(help=RUNS_HELP)]
_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object (docs/ab.schema.json) instead of the report.")
]
_Short = Annotated[bool, typer.Option("--short", help="Print the verdict, the arms and why; not every table.")]


def ab(
    arms: Annotated[
        list[str] | None,
        typer.Argument(
            help="Two or more arms, SETTING[,LEVER=VALUE…][@TARGET], the first one the baseline; or one plan: the name "
            "of one of profiles/experiments, or a .toml file.",
            show_default=False,
        ),
    ] = None,
    tasks: _Tasks = None,
    target: _Target = None,
    agent: _Agent = None,
    rehearse: _Rehearse = False,
    simulate: _Simulate = False,
    blocks: _Blocks = None,
    seed: _Seed = None,
    cache: _Cache = None,
    primary: _Primary = None,
    margin: _Margin = None,
    pauses: _Pauses = None,
    stop_early: _StopEarly = None,
    resume: _Resume = None,
    plan: _PlanOnly = False,
    no_sandbox: _NoSandbox = False,
    runs: _Runs = Path("runs"),
    json_output: _Json = False,
    short: _Short = False,
) -> None:
    """Compare arms on the same tasks in randomised blocks, and say what can be said: better, worse, equal, or not told.

    Plan, cost and the smallest effect that can be detected are shown first. Ctrl-C and kill lose at most the dispatch
    that was at work: --resume goes on, and repeats nothing.
    """
    from harness.cli.ab_run import AbAsked, run_ab

    if not (arms or resume):
        raise typer.BadParameter("name two or more arms, a plan, or an experiment with --resume")
    run_ab(
        AbAsked(
            command="ab",
            words=tuple(arms or ()),
            tasks=tasks,
            target=target,
            agent=agent,
            rehearse=rehearse,
            simulate=simulate,
            blocks=blocks,
            seed=seed,
            cache=cache,
            primary=primary,
            margin=margin,
            pauses=pauses,
            stop_early=stop_early,
            resume=resume,
            plan_only=plan,
            no_sandbox=no_sandbox,
            runs=runs,
            json_output=json_output,
            short=short,
        )
    )


def aa(
    arm: Annotated[
        str, typer.Argument(help="One arm, SETTING[,LEVER=VALUE…][@TARGET], that is compared with itself.")
    ] = "plain",
    tasks: _Tasks = None,
    target: _Target = None,
    agent: _Agent = None,
    rehearse: _Rehearse = False,
    simulate: _Simulate = False,
    blocks: _Blocks = None,
    seed: _Seed = None,
    cache: _Cache = None,
    primary: _Primary = None,
    margin: _Margin = None,
    pauses: _Pauses = None,
    resume: _Resume = None,
    plan: _PlanOnly = False,
    no_sandbox: _NoSandbox = False,
    runs: _Runs = Path("runs"),
    json_output: _Json = False,
) -> None:
    """Compare an arm with itself: what differs is noise, and what is smaller than that cannot be told on this machine.

    Shows the floor of every metric and the smallest effect that an experiment of this size detects.
    """
    from harness.cli.ab_run import AbAsked, run_ab

    run_ab(
        AbAsked(
            command="aa",
            words=(arm,),
            tasks=tasks,
            target=target,
            agent=agent,
            rehearse=rehearse,
            simulate=simulate,
            blocks=blocks,
            seed=seed,
            cache=cache,
            primary=primary,
            margin=margin,
            pauses=pauses,
            stop_early=None,
            resume=resume,
            plan_only=plan,
            no_sandbox=no_sandbox,
            runs=runs,
            json_output=json_output,
        )
    )
