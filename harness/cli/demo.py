"""`dyno demo`: a dispatch, a comparison and a cache run on the bundled model: a first look needs none of one's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.cache import JSON_HELP, RUNS_HELP

CONTEXT_TOKENS = 32768
TASK = "toolbench/chain2-1"
PLAN = "clock"


def demo(
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Let the bundled 3.4 M parameter model work on a task, compare two harness settings, then measure its cache.

    All on llama-server, in a minute or two; nothing is downloaded. With --json the object is the cache run's, and task
    and comparison are left out.
    """
    from harness.cli.ab import ab
    from harness.cli.cache_run import CacheRun, run_cache
    from harness.cli.dispatch_run import RunOrder, run_task
    from harness.run_sessions import demo_sessions

    print(
        "dyno demo: a 3.4 M parameter model; how its cache behaves is real, its times say nothing of yours",
        file=sys.stderr,
    )
    # One core is left free: llama.cpp's threads wait for each other by spinning, and crawl when one has to share.
    threads = max(1, (os.cpu_count() or 2) // 2)
    profiles = Path(__file__).parents[2] / "profiles"
    target = f"llama-server:{profiles / 'models' / 'tiny' / 'tiny-f16.gguf'}?ctx={CONTEXT_TOKENS}&threads={threads}"
    if not json_output:
        _tell(f"the model works on a task, as by: dyno run {TASK} --target tiny")
        run_task(RunOrder(task=TASK, target=target, runs=runs))
        _tell(f"what a clock in the system prompt costs, as by: dyno ab {PLAN} --target tiny")
        # No pauses: a demo is not waited for, and a busy machine is marked all the same.
        ab([str(profiles / "experiments" / f"{PLAN}.toml")], target=target, pauses=0, runs=runs)
        _tell("recorded agent sessions, as by: dyno cache tiny")
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


def _tell(text: str) -> None:
    print(f"\ndyno demo: {text}", file=sys.stderr, flush=True)
