"""From `dyno run` to a stored, reported dispatch: resolve what was asked for, open engine and sandbox, run, report."""

from __future__ import annotations

from pathlib import Path

import msgspec

from backends.base import EngineDied
from harness.cli.compactor import compactor_of, opened_compactor
from harness.cli.dispatch_report import print_dispatches
from harness.cli.live import live_dispatch
from harness.cli.opened_site import opened_site
from harness.cli.work_order import WorkAsked, order_of, target_of, work_of
from harness.dispatch import check_order, run_dispatch
from harness.sandbox.choice import choose
from harness.settings import find_setting, levers, name_of, parse_assignments, with_levers
from harness.tasks.registry import find_task
from profiler.dispatch_records import DispatchRecord

__all__ = ["RunOrder", "run_task"]


class RunOrder(WorkAsked, frozen=True, kw_only=True):
    """What `dyno run` was asked to do; the defaults are the command's."""

    task: str
    runs: Path
    harness: str = "plain"
    levers: tuple[str, ...] = ()
    seed: int = 0
    no_sandbox: bool = False
    json_output: bool = False


def run_task(asked: RunOrder) -> bool:
    """Run the dispatch, store and report it; whether its work passed.

    Raises:
        TaskError, SettingError, AgentError, TargetError: something that was named cannot be used.
        SandboxError: nothing here confines commands.
        EngineError: the engine could not be started, or went away; what was done is stored and reported first.
        KeyboardInterrupt: likewise after Ctrl-C.
    """
    setting = with_levers(find_setting(asked.harness), parse_assignments(asked.levers))
    name = name_of(asked.harness) + "".join(f" {text}" for text in asked.levers)
    found = find_task(asked.task)
    task = str(found.folder) if found.folder else found.name
    order = order_of(asked, task, asked.seed, setting, name)
    check_order(order)
    target = target_of(asked, setting, order)
    compactor_of(setting)
    sandbox, capabilities = choose(allow_none=asked.no_sandbox)
    settings = {
        "task": order.task,
        "seed": order.seed,
        "setting": order.setting_name,
        "levers": dict(levers(order.setting)),
        "agent": order.agent,
        "fidelity": order.fidelity,
        "sandbox": msgspec.to_builtins(capabilities),
    }
    path: Path | None = None
    record: DispatchRecord | None = None
    try:
        with opened_site(target, asked.runs, "run", settings, sandbox, capabilities) as opened:
            path = opened.path
            second = opened_compactor(order.setting, opened, order.fidelity)
            with second as compactor, live_dispatch(opened.memory_bytes) as live:
                work = work_of(asked, order, opened.site, opened.sender(order.fidelity), compactor)
                record = run_dispatch(order, opened.site, work, on_turn=live.turn, on_started=live.started)
    finally:
        if path is not None:
            print_dispatches(path, json_output=asked.json_output)
    if record.exit_status == "infra_fault":
        why = record.error.message if record.error else "the engine failed"
        raise EngineDied(f"the dispatch was ended by a fault: {why}", hint="its outcome does not count; run it again")
    return record.outcome.verified == "pass"
