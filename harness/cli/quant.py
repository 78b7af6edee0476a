"""`dyno quant`: which quant of a model to use on this machine: predicted, measured, recommended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.cache import RUNS_HELP


def quant(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Quants of one model: .gguf files (one part of a split one), MLX folders, folders with either.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(min=64, help="Tokens of each slot (default: 32768, or what the model has).", show_default=False),
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Requests that are served at a time.")] = 1,
    memory: Annotated[
        str | None, typer.Option(help="What it may take, such as 20G (default: what is free).", show_default=False)
    ] = None,
    min_decode: Annotated[
        float | None,
        typer.Option(min=0.001, help="Tokens per second that it must decode at that context.", show_default=False),
    ] = None,
    kv: Annotated[str, typer.Option(help="Types of KV cache to compare, such as f16,q8_0.")] = "f16",
    reference: Annotated[
        Path | None,
        typer.Option(
            help="What quality is measured against (default: the file with the most bits).", show_default=False
        ),
    ] = None,
    predict_only: Annotated[
        bool, typer.Option("--predict-only", help="Load nothing: say what each would take.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show the arithmetic of what was predicted.")] = False,
    machine: Annotated[
        str | None,
        typer.Option(help="Predict for another machine, by name (profiles/machines) or .toml.", show_default=False),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Packs, the first N of one, or single tasks: crud,toolbench:12; none leaves them out (default: "
            "toolbench, as many as fit).",
            show_default=False,
        ),
    ] = None,
    sessions: Annotated[
        list[str] | None,
        typer.Option(
            "--sessions",
            "-s",
            help="Sessions of your own (file, folder or bundled name; repeatable): their cache, their tool calls.",
            show_default=False,
        ),
    ] = None,
    fidelity: Annotated[
        Literal["rehearse", "dispatch"],
        typer.Option(help="Whether scripted steps are forced in the tasks, or the model decides."),
    ] = "dispatch",
    repeats: Annotated[
        int | None,
        typer.Option(min=1, help="Rounds: how often each is loaded, measured and put to work.", show_default=False),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="About how long it may take, such as 60s, 10m or 2h: as much is measured as fits (default: 2m).",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order.")] = 0,
    engine: Annotated[
        str | None,
        typer.Option(help="What measures all of them (default: llama-server; mlx for MLX).", show_default=False),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A launch setting of the engine, such as threads=6; repeatable.", show_default=False
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(help="Go on with a comparison: its id, the beginning of it, or 'latest'.", show_default=False),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be measured and what it costs.")] = False,
    no_sandbox: Annotated[
        bool, typer.Option("--unsafe-no-sandbox", help="Run what the model writes without confinement.")
    ] = False,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    chart: Annotated[Path | None, typer.Option(help="Write a chart: .png, .svg or .html.", show_default=False)] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/quant.schema.json) instead of the report.")
    ] = False,
) -> None:
    """Predict, measure and recommend: which quant of a model suits this machine and this work.

    What will be measured, and how long it takes, is said first. Ctrl-C and kill lose at most the step that was at
    work: --resume goes on, and repeats nothing.
    """
    from harness.cli.quant_run import QuantAsked, run_quant

    if not (files or resume):
        raise typer.BadParameter("name files or folders of one model's quants, or a comparison with --resume")
    run_quant(
        QuantAsked(
            files=tuple(files or ()),
            context=context,
            slots=slots,
            memory=memory,
            min_decode=min_decode,
            kv=tuple(one.strip() for one in kv.split(",") if one.strip()),
            reference=reference,
            predict_only=predict_only,
            explain=explain,
            machine=machine,
            tasks=tasks,
            sessions=tuple(sessions or ()),
            fidelity=fidelity,
            repeats=repeats,
            budget=budget,
            seed=seed,
            engine=engine,
            options=tuple(options or ()),
            resume=resume,
            plan_only=plan,
            no_sandbox=no_sandbox,
            runs=runs,
            chart=chart,
            json_output=json_output,
        )
    )
