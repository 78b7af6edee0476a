"""`dyno demo`: a dispatch, a comparison, a cache run and a choice of quants on the bundled model: a first look."""

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
QUANT_BUDGET = "60s"


def demo(
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Let the bundled 3.4 M parameter model work on a task, compare two settings, measure its cache, choose its quant.

    All on llama-server, in two or three minutes; nothing is downloaded. With --json the object is the cache run's, and
    the rest is left out.
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
    tiny = profiles / "models" / "tiny"
    target = f"llama-server:{tiny / 'tiny-f16.gguf'}?ctx={CONTEXT_TOKENS}&threads={threads}"
    if not json_output:
        _tell(f"the model works on a task, as by: dyno run {TASK} --target tiny")
        run_task(RunOrder(task=TASK, target=target, runs=runs))
        _tell(f"what a clock in the system prompt costs, as by: dyno ab {PLAN} --target tiny")
        # No pauses: a demo is not waited for, and a busy machine is marked all the same.
        ab([str(profiles / "experiments" / f"{PLAN}.toml")], target=target, pauses=0, runs=runs, short=True)
        _tell("recorded agent sessions, as by: dyno cache tiny")
    # The last run, and so the one that `dyno explain` takes: a comparison's runs lie in its own folder.
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
    if not json_output:
        quants = sorted(tiny.glob("*.gguf"))
        _tell(f"which of {len(quants)} quants, as by: dyno quant {tiny} --budget {QUANT_BUDGET} --chart quants.html")
        _choose(quants, threads, runs)


def _choose(quants: list[Path], threads: int, runs: Path) -> None:
    """Compare the bundled quants, and draw the chart beside the comparison where charts can be drawn."""
    from backends.base import MissingExtra
    from harness.cli.quant_report import draw_comparison
    from harness.cli.quant_run import QuantAsked, run_quant
    from harness.quant.store import read_comparison

    path = run_quant(
        QuantAsked(
            files=tuple(quants),
            context=CONTEXT_TOKENS,
            budget=QUANT_BUDGET,
            engine="llama-server",
            options=(f"threads={threads}",),
            runs=runs,
        )
    )
    if path is None:
        return
    try:
        draw_comparison(read_comparison(path), path / "quants.html")
    except MissingExtra as error:
        print(f"dyno: no chart: {error} ({error.hint})", file=sys.stderr)


def _tell(text: str) -> None:
    print(f"\ndyno demo: {text}", file=sys.stderr, flush=True)
