"""`dyno demo`: a real dispatch and a cache run on the bundled model: a first look needs no model of one's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import JSON_HELP, RUNS_HELP

CONTEXT_TOKENS = 32768
TASK = "toolbench/chain2-1"


def demo(
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Let the bundled 3.4 M parameter model work on a task, then measure its cache, on llama-server: about a minute.

    Nothing is downloaded. With --json the object is the cache run's, and the task is left out.
    """
    from harness.cli.cache_run import CacheRun, run_cache
    from harness.cli.dispatch_run import RunOrder, run_task
    from harness.run_sessions import demo_sessions

    print(
        "dyno demo: a 3.4 M parameter model; how its cache behaves is real, its times say nothing of yours",
        file=sys.stderr,
    )
    # One core is left free: llama.cpp's threads wait for each other by spinning, and crawl when one has to share.
    threads = max(1, (os.cpu_count() or 2) // 2)
    model = Path(__file__).parents[2] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
    target = f"llama-server:{model}?ctx={CONTEXT_TOKENS}&threads={threads}"
    if not json_output:
        print(f"dyno demo: the model works on a task, as by: dyno run {TASK} --target tiny", file=sys.stderr)
        run_task(RunOrder(task=TASK, target=target, runs=runs))
        print("dyno demo: now recorded agent sessions, as by: dyno cache tiny", file=sys.stderr)
    # Last, so that it is the run that `dyno explain` takes.
    run_cache(
        CacheRun(
            command="demo",
            target=target,
            sessions=demo_sessions(),
            repeat=1,
            cold=False,
            runs=runs,
            json_output=json_output,
        )
    )
