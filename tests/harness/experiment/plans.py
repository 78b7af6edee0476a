"""Plans and stored dispatches whose every figure can be worked out by hand."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.experiment.blocks import Cell
from harness.experiment.plan import Arm, Plan, PlannedTask
from harness.experiment.store import CellBegun, Done
from harness.settings import Setting
from profiler.dispatch_records import DispatchRecord, ExitStatus, Outcome, Totals
from profiler.dispatch_store import StoredDispatch
from profiler.records import Failure
from tests.profiler.dispatches import started

S = 1_000_000_000


def plan(arms: int = 2, tasks: int = 6, **further: Any) -> Plan:
    """Arms A, B, … on tasks t1, t2, …, without an engine."""
    return Plan(
        title="a plan",
        arms=tuple(Arm(chr(ord("A") + number), Setting(), "plain", agent="oracle") for number in range(arms)),
        tasks=tuple(PlannedTask(f"t{number + 1}", "0" * 64, 1800.0) for number in range(tasks)),
        **further,
    )


def totals(wall_s: float, **further: Any) -> Totals:
    """A dispatch of which nine tenths are decode; without requests of its own."""
    fields: dict[str, Any] = {
        "requests": 2,
        "turns": 3,
        "calls": 2,
        "wall_ns": round(wall_s * S),
        "prompt_tokens": 1000,
        "cached_tokens": 600,
        "evaluated_tokens": 400,
        "generated_tokens": 102,
        "prefill_ns": round(wall_s * S * 0.1),
        "decode_ns": round(wall_s * S * 0.8),
        "ttft_ns": round(wall_s * S * 0.1),
        "engine_ns": round(wall_s * S * 0.9),
        "tool_ns": round(wall_s * S * 0.05),
        "overhead_ns": round(wall_s * S * 0.05),
    }
    return Totals(**{**fields, **further})


def record(
    wall_s: float = 1.0,
    *,
    exit_status: ExitStatus = "submitted",
    verified: Any = "pass",
    valid: bool = True,
    name: str = "0001-t1",
    **further: Any,
) -> DispatchRecord:
    error = Failure("EngineDied", "it died") if exit_status == "infra_fault" else None
    score = {"pass": 1.0, "partial": 0.5, "fail": 0.0}.get(verified)
    outcome = Outcome(verified, score, valid=valid)
    return DispatchRecord(name, exit_status, outcome, (), {}, totals(wall_s, **further), "", 0, error=error)


def done(cell: Cell, ended: DispatchRecord, *, attempt: int = 1, load: str = "001", warm_up: bool = False) -> Done:
    """A dispatch of a plan that has ended."""
    begun = CellBegun(cell.order + 1, cell.order, cell.block, cell.arm, cell.task, attempt, cell.fresh, warm_up=warm_up)
    name = f"{begun.number:04d}-{cell.task}"
    ended = msgspec.structs.replace(ended, dispatch_id=name)
    return Done(begun, StoredDispatch(started(name, task=cell.task), (), ended), ended, load)
