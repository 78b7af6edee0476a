"""Write a task folder from values: what a pack's generator has worked out, in the layout of `harness.tasks.base`.

The same draft gives the same bytes. Nothing is generated here and nothing is read back (`harness.tasks.registry`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from harness.tasks.base import Call, Harness, Step, TaskError, Tests

__all__ = ["PYTEST", "TESTS_AND_SETTINGS", "Draft", "call", "filled", "number_of", "steps_json", "write_draft"]

TESTS_AND_SETTINGS = (
    "tests/**",
    "**/conftest.py",
    "pytest.ini",
    "tox.ini",
    "setup.cfg",
    "pyproject.toml",
    "**/*.pth",
)
"""What is protected where the tests are given: they, and the files by which pytest could be told to do otherwise."""
_RUN_PYTEST = "python -m pytest -q -p no:cacheprovider"
PYTEST = Tests(
    suite=f"{_RUN_PYTEST} tests",
    file=f"{_RUN_PYTEST} {{file}}",
    test=f"{_RUN_PYTEST} {{test}}",
)
"""The commands of tests in `tests/`; a pack says how they are named."""

_ASSETS = Path(__file__).parent / "assets"
_TEST_SH = """#!/bin/sh
# Verifies the workspace in $WORKSPACE and writes $REWARD_DIR/reward.json.
exec "${PYTHON:-python3}" -B "$TASK_DIR/tests/verify.py"
"""
_SOLVE_SH = """#!/bin/sh
# Brings the workspace, the working directory, into the solved state.
cp -R "$(dirname "$0")/files/." .
"""
_EXECUTABLE = 0o755
_READABLE = 0o644


class Draft(msgspec.Struct, frozen=True):
    """A task before it is a folder. Files are texts by their relative paths.

    `instructions` are by scope, `""` for the one of all scopes. `verifier` is the text of
    `tests/verify.py`, `beside` further files there; `verifying.py` is always among them. `solution` are the files that
    solve the task.
    `trajectories` are by agent (`oracle`), or by agent and scope (`oracle.broad`).
    """

    name: str
    title: str
    seed: int
    difficulty: str
    harness: Harness
    instructions: Mapping[str, str]
    verifier: str
    solution: Mapping[str, str]
    trajectories: Mapping[str, Sequence[Step]]
    workspace: Mapping[str, str] = {}
    hidden: Mapping[str, str] = {}
    beside: Mapping[str, str] = {}
    agent_timeout_s: float = 1800.0
    verifier_timeout_s: float = 120.0


def number_of(instance: str, kind: str, pack: str) -> int:
    """The number of an instance that is named `kind-number`, from 1.

    Raises:
        TaskError: the pack has no such instance.
    """
    said, _, number = instance.partition("-")
    if said != kind or not number.isdecimal() or int(number) < 1:
        raise TaskError(f"{pack} has no instance {instance!r}", f"its instances are {kind}-1, {kind}-2, …")
    return int(number)


def write_draft(draft: Draft, folder: Path) -> None:
    """Write the task's folder.

    Raises:
        OSError: a file cannot be written.
    """
    texts: dict[str, str] = {
        "task.toml": _toml(_settings(draft)),
        "tests/test.sh": _TEST_SH,
        "tests/verify.py": draft.verifier,
        "tests/verifying.py": (_ASSETS / "verifying.py.tmpl").read_text(encoding="utf-8"),
        "solution/solve.sh": _SOLVE_SH,
    }
    texts |= {f"instruction.{scope}.md" if scope else "instruction.md": t for scope, t in draft.instructions.items()}
    texts |= {f"tests/{path}": text for path, text in draft.beside.items()}
    texts |= {f"workspace/{path}": text for path, text in draft.workspace.items()}
    texts |= {f"hidden/{path}": text for path, text in draft.hidden.items()}
    texts |= {f"solution/files/{path}": text for path, text in draft.solution.items()}
    texts |= {f"trajectories/{agent}.json": steps_json(steps) for agent, steps in draft.trajectories.items()}
    for name in ("workspace", "hidden", "solution/files"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        file.chmod(_EXECUTABLE if file.suffix == ".sh" else _READABLE)


def _settings(draft: Draft) -> dict[str, Any]:
    pack = draft.name.partition("/")[0]
    return {
        "task": {"name": draft.name},
        "metadata": {"title": draft.title, "pack": pack, "seed": draft.seed, "difficulty": draft.difficulty},
        "agent": {"timeout_sec": draft.agent_timeout_s},
        "verifier": {"timeout_sec": draft.verifier_timeout_s},
        "environment": {"allow_internet": False},
        "harness": msgspec.to_builtins(draft.harness),
    }


def _toml(tables: Mapping[str, Any]) -> str:
    """Nested tables; values are texts, numbers, booleans and lists of them, and `None` is left out."""
    lines: list[str] = []

    def table(name: str, values: Mapping[str, Any]) -> None:
        if name:
            lines.append(f"\n[{name}]" if lines else f"[{name}]")
        for key, value in values.items():
            if value is not None and not isinstance(value, Mapping):
                # JSON's texts, numbers, booleans and lists are TOML's as well.
                lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
        for key, value in values.items():
            if isinstance(value, Mapping):
                table(f"{name}.{key}" if name else key, cast("Mapping[str, Any]", value))

    table("", tables)
    return "\n".join(lines) + "\n"


def steps_json(steps: Sequence[Step]) -> str:
    """Steps as a trajectory file holds them."""
    return json.dumps(msgspec.to_builtins(list(steps)), ensure_ascii=False, indent=1) + "\n"


def call(name: str, /, **arguments: Any) -> Call:
    """A tool call of a scripted agent."""
    return Call(name, arguments)


def filled(template: str, /, **values: object) -> str:
    """A template with its `@name@` marks filled in.

    Raises:
        KeyError: a mark has no value.
    """
    return re.sub(r"@(\w+)@", lambda mark: str(values[mark[1]]), template)
