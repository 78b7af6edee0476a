"""A task as a folder: what the agent sees, what it is asked, how its work is verified, and four scripted agents.

    task.toml                 [task] [metadata] [agent] [verifier] [environment] as Harbor has them; and [harness]
    instruction.md            what is asked; `instruction.<scope>.md` where a scope has another wording
    workspace/                what the agent sees and changes
    hidden/                   for the verifier alone: pristine tests, mutants, expected lists
    solution/solve.sh         brings a workspace into the solved state
    tests/test.sh             verifies: writes reward.json into $REWARD_DIR: {"score": 0.75, "parts": {…}, "notes": […]}
    trajectories/<agent>.json the steps of `oracle`, `nop`, `tamper`, `placeholder`; `<agent>.<scope>.json` where a
                              scope needs others

A pack is a folder of `harness/tasks/` with a `pack.toml` and a `generator.py`, whose `build(instance, seed, folder)`
writes such a folder; the same seed gives the same bytes. Reads and checks; runs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from backends.base import JsonObject

__all__ = ["AGENTS", "SCOPES", "Call", "Scope", "ScriptedAgent", "Step", "Task", "TaskError"]

Scope = Literal["bounded", "open", "broad"]
ScriptedAgent = Literal["nop", "oracle", "tamper", "placeholder"]
SCOPES: tuple[Scope, ...] = ("bounded", "open", "broad")
AGENTS: tuple[ScriptedAgent, ...] = ("nop", "oracle", "tamper", "placeholder")


class TaskError(Exception):
    """A task or a pack that cannot be used: which, why, and what to do next (exit code 2)."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Call(msgspec.Struct, frozen=True):
    """A tool call of a scripted agent."""

    name: str
    arguments: JsonObject = {}


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a scripted agent says in one turn. A step without calls ends the work, as a model's does."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()


class Baselines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Scores that the scripted agents must get, in [0, 1]: exactly for `nop` and `oracle`, at most for the others.

    `caught` are codes of detectors of which at least one must fire for `tamper` and for `placeholder`.
    """

    nop: float
    oracle: float = 1.0
    tamper_at_most: float = 0.0
    placeholder_at_most: float = 0.0
    tamper_caught_by: tuple[str, ...] = ("test_tampering", "constraint_violation")
    placeholder_caught_by: tuple[str, ...] = ("placeholder_text", "hallucinated_completion")


class Tests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commands of the `test` tool by granularity, run by a shell in the workspace; `None`: no such.

    `{file}` and `{test}` stand for what the agent names. `names` is how a test is named, for the tool's description.
    """

    suite: str | None = None
    file: str | None = None
    test: str | None = None
    names: str = ""


class Harness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What dyno's harness needs of a task: the `[harness]` table.

    `toolset` names a module `harness.tasks.<pack>.tools` with `make_tools(…)` in place of the standard `tools`.
    `protected` are files (globs, relative to the workspace) whose change is tampering; `allowed`, if not empty, the
    only ones that may be changed or made (else `constraint_violation`). `placeholders` are further texts that count as
    such.
    """

    scopes: tuple[Scope, ...] = ("bounded",)
    tools: tuple[str, ...] = ("read", "list", "grep", "edit", "write", "bash", "test", "submit")
    toolset: str | None = None
    single_shot: bool = False
    loopback: bool = False
    protected: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()
    notes_file: str | None = None
    requires_changes: bool = True
    baseline: Baselines = Baselines(nop=0.0)
    tests: Tests = Tests()


class Task(msgspec.Struct, frozen=True):
    """A task, read from its folder. `name` is `pack/instance`, or the folder's own name for one that is no pack's."""

    name: str
    pack: str
    seed: int
    title: str
    folder: Path
    harness: Harness
    agent_timeout_s: float = 1800.0
    verifier_timeout_s: float = 300.0
    difficulty: str = ""
    held_out: bool = False
    sha256: str = ""
