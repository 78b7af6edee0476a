"""Whether a task can be trusted: its four scripted agents get the scores that it declares, and the cheats are caught.

    nop          does nothing: the score of the untouched workspace
    oracle       solves it: 1.0
    tamper       changes what is protected, or breaks a constraint
    placeholder  claims to be done and leaves stubs

Each works through the same tools, sandbox and verifier as a model, without an engine; each verification is repeated.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from backends.base import Facts
from harness.agent.work import script_work
from harness.diary import Site
from harness.dispatch import Order, run_dispatch
from harness.sandbox.base import Capabilities, Sandbox
from harness.settings import Setting, TaskLevers
from harness.tasks.base import AGENTS, Baselines, Scope, ScriptedAgent
from harness.tasks.registry import materialise
from profiler.causes.cases import Cases
from profiler.dispatch_records import DispatchRecord
from profiler.dispatch_store import DispatchWriter
from profiler.machine import machine, versions
from profiler.measure import Clock
from profiler.records import RunInfo
from profiler.store import RunWriter

__all__ = ["AgentCheck", "TaskCheck", "check_task"]

VERIFICATIONS = 3
_SAME = 1e-9


class AgentCheck(msgspec.Struct, frozen=True):
    """What a scripted agent got, and what it should have got; `fault` says in words what is not as declared."""

    agent: ScriptedAgent
    scope: Scope
    score: float | None
    declared: str
    detections: tuple[str, ...]
    fault: str | None


class TaskCheck(msgspec.Struct, frozen=True):
    """A task with its four agents, in every scope that it offers."""

    task: str
    seed: int
    agents: tuple[AgentCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether all is as declared."""
        return all(check.fault is None for check in self.agents)


def check_task(
    name: str,
    seed: int,
    sandbox: Sandbox,
    capabilities: Capabilities,
    *,
    verifications: int = VERIFICATIONS,
    clock: Clock = time.perf_counter_ns,
    on_agent: Callable[[AgentCheck], None] = lambda _: None,
) -> TaskCheck:
    """Let the four agents work on a task, in every scope, and compare. Nothing is kept.

    Raises:
        TaskError: no such task, or one that is not complete.
        SandboxError: a command could not be confined.
    """
    checks: list[AgentCheck] = []
    with tempfile.TemporaryDirectory(prefix="dyno-check-") as place:
        declared = materialise(name, seed, Path(place) / "task").harness
        now = time.time_ns()
        info = RunInfo("check", "check", now, "none", Facts("none"), machine(), versions(), {})
        writer = RunWriter.create(Path(place), info)
        dispatches = DispatchWriter(writer.path)
        site = Site(writer, dispatches, sandbox, capabilities, None, Cases(info.facts), clock)
        try:
            for scope in declared.scopes:
                for agent in AGENTS:
                    setting = Setting(task=TaskLevers(scope=scope, persona=""))
                    order = Order(name, seed, setting, "check", agent, agent, "no_engine")
                    record = run_dispatch(
                        order, site, script_work(agent, clock), number=len(checks) + 1, verifications=verifications
                    )
                    check = _check(agent, scope, declared.baseline, record)
                    checks.append(check)
                    on_agent(check)
        finally:
            dispatches.close()
            writer.close("complete")
    return TaskCheck(name, seed, tuple(checks))


def _check(agent: ScriptedAgent, scope: Scope, baseline: Baselines, record: DispatchRecord) -> AgentCheck:
    score, codes = record.outcome.score, tuple(found.code for found in record.detections)
    least, most, caught_by = {
        "nop": (baseline.nop, baseline.nop, ()),
        "oracle": (baseline.oracle, baseline.oracle, ()),
        "tamper": (0.0, baseline.tamper_at_most, baseline.tamper_caught_by),
        "placeholder": (0.0, baseline.placeholder_at_most, baseline.placeholder_caught_by),
    }[agent]
    declared = f"{least:g}" if least == most else f"at most {most:g}"
    fault: str | None = None
    if not record.outcome.valid or score is None:
        fault = "; ".join(record.outcome.notes) or "it was not verified"
    elif not least - _SAME <= score <= most + _SAME:
        fault = f"its score is {score:g}, not {declared}"
    elif caught_by and not set(caught_by) & set(codes):
        fault = f"it was not caught: none of {', '.join(caught_by)} in {', '.join(codes) or 'no detections'}"
    elif agent == "oracle" and any(found.certain and found.code in _DAMNING for found in record.detections):
        fault = f"the oracle was taken for a cheat: {', '.join(codes)}"
    return AgentCheck(agent, scope, score, declared, codes, fault)


_DAMNING = ("test_tampering", "constraint_violation", "special_casing", "hallucinated_completion", "infra_fault")
