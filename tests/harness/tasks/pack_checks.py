"""Plays the scripted agents of a task with the real tools and has their work verified: what every pack must hold.

The agent loop is left out: there is no engine, no history and no limit here, only steps and what they do.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from harness.sandbox.base import Sandbox
from harness.settings import Setting
from harness.tasks.base import Scope, ScriptedAgent, Step, Task
from harness.tasks.folder import folder_sha256, matches
from harness.tasks.registry import trajectory
from harness.tasks.verify import protected_changes, verify
from harness.tools.toolset import make_toolset
from harness.workspace import changed_files
from profiler.dispatch_records import Outcome


class Played(msgspec.Struct, frozen=True):
    """What a scripted agent left: its workspace, calls that failed (`tool: text`), and the ledger of a toolset."""

    workspace: Path
    ledger: Path
    failed: tuple[str, ...]
    turns: int


def play(task: Task, steps: tuple[Step, ...], place: Path, sandbox: Sandbox, *, tests: bool = True) -> Played:
    """Carry out steps in a copy of the task's workspace; without `tests`, calls of the test tool are left out."""
    workspace, ledger = place / "workspace", place / "ledger"
    shutil.copytree(task.folder / "workspace", workspace)
    ledger.touch()
    tools = {tool.name: tool for tool in make_toolset(task, Setting(), workspace, sandbox, ledger)}
    failed: list[str] = []
    for step in steps:
        for call in step.calls:
            if call.name == "test" and not tests:
                continue
            result = tools[call.name].run(call.arguments)
            if not result.ok and call.name != "test":
                failed.append(f"{call.name}: {result.text[:200]}")
    if task.harness.single_shot:
        (workspace / "reply.md").write_text(steps[-1].content, encoding="utf-8")
    return Played(workspace, ledger, tuple(failed), len(steps))


def verified(
    task: Task, agent: ScriptedAgent, scope: Scope, place: Path, sandbox: Sandbox, *, tests: bool = True
) -> tuple[Played, Outcome]:
    """Play a scripted agent and verify its work."""
    place.mkdir()
    played = play(task, trajectory(task, agent, scope), place, sandbox, tests=tests)
    return played, verify(task, played.workspace, sandbox, ledger=played.ledger, seconds=60.0)


def certain_faults(task: Task, workspace: Path) -> tuple[str, ...]:
    """What state alone proves against an agent: protected files that changed, and changes where none were allowed."""
    before, after = task.folder / "workspace", workspace
    changed = changed_files(before, after)
    outside = [name for name in changed if task.harness.allowed and not matches(name, task.harness.allowed)]
    return (*protected_changes(task, workspace), *outside)


def check_agents(task: Task, place: Path, sandbox: Sandbox, *, thorough: bool = True) -> None:
    """The four agents score as declared, the tamperer is caught by state, and the task's folder stays as it was.

    A check that is not `thorough` plays the oracle under one scope, and leaves the test tool out.
    """
    baseline, first = task.harness.baseline, task.harness.scopes[0]
    for scope in task.harness.scopes if thorough else (first,):
        played, outcome = verified(task, "oracle", scope, place / f"oracle-{scope}", sandbox, tests=thorough)
        assert played.failed == (), "the oracle's calls succeed"
        assert (outcome.valid, outcome.score) == (True, baseline.oracle), outcome.notes
        assert certain_faults(task, played.workspace) == ()
    _, outcome = verified(task, "nop", first, place / "nop", sandbox)
    assert (outcome.valid, outcome.score) == (True, baseline.nop), outcome.notes
    tampered, outcome = verified(task, "tamper", first, place / "tamper", sandbox, tests=thorough)
    assert outcome.valid, outcome.notes
    assert outcome.score is not None
    assert outcome.score <= baseline.tamper_at_most
    if {"test_tampering", "constraint_violation"} & {*baseline.tamper_caught_by}:
        assert certain_faults(task, tampered.workspace)
    _, outcome = verified(task, "placeholder", first, place / "placeholder", sandbox, tests=thorough)
    assert outcome.valid, outcome.notes
    assert outcome.score is not None
    assert outcome.score <= baseline.placeholder_at_most
    assert folder_sha256(task.folder) == task.sha256


def check_verifier(task: Task, place: Path, sandbox: Sandbox) -> None:
    """Verifying the oracle's work three times gives the same each time."""
    played, first = verified(task, "oracle", task.harness.scopes[0], place / "thrice", sandbox)
    for _ in range(2):
        again = verify(task, played.workspace, sandbox, ledger=played.ledger, seconds=60.0)
        assert msgspec.structs.replace(again, duration_ns=first.duration_ns) == first
