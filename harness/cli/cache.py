"""`dyno cache`: replay agent sessions on a target and say whether its prompt cache is stable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RUNS_HELP = "Folder of stored runs."
JSON_HELP = "Print one JSON object (docs/cache.schema.json) instead of the report."


def cache(
    target: Annotated[
        str,
        typer.Argument(
            help="engine:model?key=value, for example llama-server:model.gguf?ctx=32768", show_default=False
        ),
    ],
    sessions: Annotated[
        list[str] | None,
        typer.Option(
            "--sessions", "-s", help="Session file, folder or bundled name; repeatable. Default: all bundled."
        ),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="Replay every session this many times.")] = 1,
    cold: Annotated[
        bool, typer.Option("--cold", help="Salt each session's prompts, so that it starts cold on a warm server.")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            help="Where a server does not say what it reused: infer it, after timing prompts that it has never seen. "
            "Costs about five prefills as long as the longest prompt of the sessions."
        ),
    ] = True,
    runs: Annotated[Path, typer.Option(help=RUNS_HELP)] = Path("runs"),
    json_output: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Measure the prompt-cache stability of a model under agent sessions.

    The sessions are real chat requests with the recorded replies forced where the engine allows it. Ctrl-C keeps and
    reports what was measured.
    """
    from harness.cli.cache_run import CacheRun, chosen_sessions, run_cache

    run_cache(
        CacheRun(
            command="cache",
            target=target,
            sessions=chosen_sessions(sessions or []),
            named=tuple(sessions or ()),
            repeat=repeat,
            cold=cold,
            calibrate=calibrate,
            runs=runs,
            json_output=json_output,
        )
    )
