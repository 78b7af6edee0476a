"""`dyno demo`: the cache run on the bundled model, so that a first look needs no model of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import JSON_HELP, RUNS_HELP

CONTEXT_TOKENS = 32768


def demo(
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Measure the bundled 3.4 M parameter model on llama-server: about a minute, nothing to download."""
    from harness.cli.cache_run import CacheRun, chosen_sessions, run_cache

    model = Path(__file__).parents[2] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
    run_cache(
        CacheRun(
            command="demo",
            target=f"llama-server:{model}?ctx={CONTEXT_TOKENS}",
            sessions=chosen_sessions([]),
            repeat=1,
            cold=False,
            runs=runs,
            json_output=json_output,
        )
    )
