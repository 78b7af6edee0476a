"""`dyno simulate`: predict, without an engine, which setting of an engine's prompt cache loses least."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import RUNS_HELP


def simulate(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SESSION|RUN",
            help="Bundled session, session file or folder; or a stored run: id, folder, or 'latest' (the default).",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            "-e",
            help="Engine whose cache is simulated, or 'all'; repeatable. Default: the run's, else llama-server.",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="Option of the engine with the values to compare: key=value,value; repeatable."),
    ] = None,
    parallel: Annotated[str | None, typer.Option(help="Slots to compare: 1,2,4 (auto: the engine's own).")] = None,
    slot_prompt_similarity: Annotated[
        str | None, typer.Option(help="Similarities to compare from which llama-server keeps a slot: 0,0.1,0.5.")
    ] = None,
    cache_ram: Annotated[
        str | None, typer.Option(help="Sizes of llama-server's host prompt cache, MiB: 0,8192.")
    ] = None,
    ctx: Annotated[str | None, typer.Option(help="Context sizes to compare, tokens.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="For sessions: GGUF file, MLX folder or target whose template and tokenizer make the prompts."
        ),
    ] = None,
    requests: Annotated[
        bool, typer.Option("--requests", help="Show every request: what the cache reuses, and why.")
    ] = False,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/simulate.schema.json) instead of the report.")
    ] = False,
) -> None:
    """Predict which cache setting loses least on a session or on a stored run. No engine serves anything.

    A model of the engine's cache takes the requests as tokens and says what would be reused. On a run it is first
    compared with what the run's engine reported. Ctrl-C keeps the settings that are done.
    """
    from harness.cli.simulate_run import SimulateRun, run_simulate

    flags = {"slots": parallel, "slot_prompt_similarity": slot_prompt_similarity, "cache_ram": cache_ram, "ctx": ctx}
    run_simulate(
        SimulateRun(
            inputs=tuple(inputs or ("latest",)),
            engines=tuple(engine or ()),
            settings=tuple(setting or ()),
            flags=flags,
            model=model,
            requests=requests,
            runs=runs,
            json_output=json_output,
        )
    )
