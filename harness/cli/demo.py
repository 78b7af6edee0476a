"""`dyno demo`: the cache run on the bundled model, so that a first look needs no model of one's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import JSON_HELP, RUNS_HELP

CONTEXT_TOKENS = 32768
SEED, TURNS, SCALE = 7, 6, 0.5
"""The bundled kinds of sessions, shortened so that two cores are done in a minute."""
LEFT_OUT = ("append-only-long",)


def demo(
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Measure the bundled 3.4 M parameter model on llama-server: under a minute, nothing to download."""
    from harness.cli.cache_run import CacheRun, run_cache
    from harness.session_generator import KINDS, fewest_turns, generate

    print(
        "dyno demo: a 3.4 M parameter model; how its cache behaves is real, its times say nothing of yours",
        file=sys.stderr,
    )
    # Seeds of their own, or the sessions would begin with the same text and find each other's cache.
    sessions = tuple(
        generate(kind, seed=SEED + number, turns=max(TURNS, fewest_turns(kind)), scale=SCALE)
        for number, kind in enumerate(KINDS)
        if kind not in LEFT_OUT
    )
    # One core is left free: llama.cpp's threads wait for each other by spinning, and crawl when one has to share.
    threads = max(1, (os.cpu_count() or 2) // 2)
    model = Path(__file__).parents[2] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
    run_cache(
        CacheRun(
            command="demo",
            target=f"llama-server:{model}?ctx={CONTEXT_TOKENS}&threads={threads}",
            sessions=sessions,
            repeat=1,
            cold=False,
            runs=runs,
            json_output=json_output,
        )
    )
