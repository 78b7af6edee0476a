"""The command line: the root, and the one place that turns errors into one line and an exit code.

Exit codes: 0 done, 1 a finding above a threshold (`check`), 2 usage, 3 engine or environment, 130 interrupted.
Command modules keep their own imports inside the function: `--help` must not load an HTTP client.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.ab import aa, ab
from harness.cli.cache import cache
from harness.cli.check import check
from harness.cli.compare import compare
from harness.cli.demo import demo
from harness.cli.doctor import doctor
from harness.cli.explain import explain
from harness.cli.export import export
from harness.cli.fix import fix
from harness.cli.history import history
from harness.cli.quant import quant
from harness.cli.report import report
from harness.cli.run import run
from harness.cli.sessions import sessions
from harness.cli.simulate import simulate
from harness.cli.sql import sql
from harness.cli.targets import targets
from harness.cli.tasks import tasks
from harness.cli.template import template
from harness.cli.tune import tune

__all__ = ["app", "main"]

USAGE, ENVIRONMENT, INTERRUPTED = 2, 3, 130


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"dyno {version('llmdyno')}")
        except PackageNotFoundError:
            print("dyno, run from its source")
        raise typer.Exit


app = typer.Typer(
    name="dyno",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Put a local model under agent work and see where its prompt cache, and with it your time, is lost."""


COMMANDS = (
    aa, ab, cache, check, compare, demo, doctor, explain, export, fix, history, quant, report, run, sessions, simulate,
    sql, targets, tasks, template, tune,
)  # fmt: skip

for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Entry point of `dyno`."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        _explain(error)
        sys.exit(code)


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error of ours; `None` for a fault of dyno, which keeps its traceback."""
    from backends.base import EngineError, TargetError
    from harness.experiment.plan import PlanError
    from harness.external.command import AgentError
    from harness.history.errors import QueryError
    from harness.sandbox.base import SandboxError
    from harness.sessions import SessionError
    from harness.settings import SettingError
    from harness.tasks.base import TaskError
    from harness.workspace import WorkspaceError
    from profiler.run_files import StoreError
    from profiler.run_names import UnknownRun

    usage = TargetError | SessionError | UnknownRun | TaskError | SettingError | AgentError | PlanError | QueryError
    if isinstance(error, usage):
        return USAGE
    return ENVIRONMENT if isinstance(error, EngineError | StoreError | SandboxError | WorkspaceError) else None


def _explain(error: Exception) -> None:
    print(f"dyno: {error}", file=sys.stderr)
    hint = getattr(error, "hint", None)
    if hint:
        print(f"      {hint}", file=sys.stderr)
