"""A tuning from what was typed to its report: plan, cost, the stages, the setting it found. Behind `dyno tune`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from harness.cli.tune_plan import TuneAsked, plan_of
from harness.cli.tune_report import print_tuning
from harness.cli.tune_stand import Engines
from harness.sandbox.choice import choose
from harness.tune.outlook import told_before
from harness.tune.result import document_of
from harness.tune.store import DOCUMENT, Started, create, find_tuning, read_started, write_document
from harness.tune.tuning import Tuning
from harness.tune.writing import write_setting, written_before
from profiler.run_names import new_run_id

__all__ = ["run_tune"]


def run_tune(asked: TuneAsked, *, resume: str | None, plan_only: bool, no_sandbox: bool, json_output: bool) -> None:
    """Plan the tuning or go on with one, and report what there is.

    Raises:
        PlanError, TaskError, SettingError, AgentError, TargetError: something that was named cannot be used, or the
            budget does not reach.
        SandboxError: nothing here confines commands.
        EngineError: an engine could not be started, or went away; what was done is stored and reported first.
        KeyboardInterrupt: likewise after Ctrl-C.
    """
    path = find_tuning(asked.runs, resume) if resume else None
    plan, notes = plan_of(asked) if path is None else (read_started(path).plan, ())
    if path is None or plan_only:
        # The plan is what is wanted of `--plan`; else standard output is the report's.
        print("\n".join((*told_before(plan), *notes)), file=sys.stdout if plan_only else sys.stderr, flush=True)
    if plan_only:
        return
    if path is None:
        now = time.time_ns()  # noqa: TID251 (the date of a tuning)
        path = create(asked.runs, Started(new_run_id(now), now, plan))
    print(f"tuning {path.name} in {path}", file=sys.stderr, flush=True)
    sandbox, capabilities = choose(allow_none=no_sandbox)
    tuning = Tuning(plan, Engines(path, plan, sandbox, capabilities))
    tuning.notes += notes
    try:
        tuning.run()
    finally:
        # After Ctrl-C too: what is done stands.
        _report(tuning, path, json_output=json_output)


def _report(tuning: Tuning, path: Path, *, json_output: bool) -> None:
    if not tuning.stages:
        return
    document = document_of(tuning, path.name, None)
    if tuning.chosen is not None:
        setting = tuning.plan.space.setting_of(tuning.chosen)
        written = written_before(path / DOCUMENT) or write_setting(tuning.plan.name, setting, document)
        document = document_of(tuning, path.name, str(written))
    write_document(path, document)
    print_tuning(document, json_output=json_output)
