"""Reads a task's folder: `task.toml`, what is asked, the scripted agents' steps, the hash of it all. Writes nothing.

A folder in Harbor's format is one of these with less in it: without `[harness]` everything there has its default, and
without `workspace/` the files of `environment/` are what the agent sees (`harness.tasks.registry.materialise`).
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec

from harness.tasks.base import Baselines, Call, Harness, Scope, ScriptedAgent, Step, Task, TaskError, Tests
from harness.workspace import files_of

__all__ = ["folder_sha256", "instruction", "matches", "read_folder", "trajectory"]

_FORM = "the form of a task folder is described in docs/tasks.md"


class _Timed(msgspec.Struct):
    timeout_sec: float | None = None


class _Named(msgspec.Struct):
    name: str = ""
    description: str = ""


class _Metadata(msgspec.Struct):
    title: str = ""
    pack: str = ""
    seed: int = 0
    difficulty: str = ""


class _File(msgspec.Struct):
    task: _Named = msgspec.field(default_factory=_Named)
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    agent: _Timed = msgspec.field(default_factory=_Timed)
    verifier: _Timed = msgspec.field(default_factory=_Timed)
    harness: Harness = Harness()


def read_folder(folder: Path) -> Task:
    """The task that a folder holds, with the hash of the folder.

    Raises:
        TaskError: it has no readable `task.toml`, an unknown key in `[harness]` (the nearest one is named), a value of
            the wrong type, no `instruction.md`, or no `tests/test.sh`.
    """
    path = folder / "task.toml"
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(f"task {path}: {error.strerror}", _FORM) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TaskError(f"task {path}: {error}", _FORM) from error
    _refuse_unknown_in_harness(held, path)
    try:
        file = msgspec.convert(held, _File)
    except msgspec.ValidationError as error:
        raise TaskError(f"task {path}: {str(error).replace('$.', '')}", _FORM) from error
    for needed in ("instruction.md", "tests/test.sh"):
        if not (folder / needed).is_file():
            raise TaskError(f"task {folder} has no {needed}", _FORM)
    return Task(
        name=file.task.name if file.metadata.pack and file.task.name else folder.resolve().name,
        pack=file.metadata.pack,
        seed=file.metadata.seed,
        title=file.metadata.title or file.task.description or folder.resolve().name,
        folder=folder,
        harness=file.harness,
        agent_timeout_s=file.agent.timeout_sec or 1800.0,
        verifier_timeout_s=file.verifier.timeout_sec or 300.0,
        difficulty=file.metadata.difficulty,
        sha256=folder_sha256(folder),
    )


def instruction(task: Task, scope: Scope) -> str:
    """What the agent is asked under a scope: the scope's own wording, or the general one.

    Raises:
        TaskError: the task does not offer the scope.
    """
    if scope not in task.harness.scopes:
        offered = ", ".join(task.harness.scopes)
        raise TaskError(f"task {task.name} has no scope {scope!r}", f"it offers {offered}: set task.scope to one")
    own = task.folder / f"instruction.{scope}.md"
    return (own if own.is_file() else task.folder / "instruction.md").read_text(encoding="utf-8")


def trajectory(task: Task, agent: ScriptedAgent, scope: Scope) -> tuple[Step, ...]:
    """The steps of a scripted agent under a scope.

    A task without its own `nop` has one that only answers, one without an `oracle` runs `solution/solve.sh`.

    Raises:
        TaskError: the task has no such agent, or its file is not a list of steps.
    """
    places = [task.folder / "trajectories" / f"{agent}{part}.json" for part in (f".{scope}", "")]
    path = next((place for place in places if place.is_file()), None)
    if path is not None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=tuple[Step, ...])
        except msgspec.MsgspecError as error:
            raise TaskError(f"{path}: {error}", _FORM) from error
    solution = task.folder / "solution" / "solve.sh"
    if agent == "nop":
        return (Step(content="I leave everything as it is."),)
    if agent == "oracle" and solution.is_file():
        script = Call("bash", {"command": solution.read_text(encoding="utf-8")})
        return (Step(calls=(script,)), Step(content="The solution's script was run."))
    raise TaskError(f"task {task.name} has no scripted agent {agent}", f"write {places[-1]}, or use another agent")


def folder_sha256(folder: Path) -> str:
    """Hash of a folder: of each file its path, whether it may be executed, and its bytes."""
    whole = hashlib.sha256()
    for name, path in files_of(folder).items():
        executable = bool(path.stat().st_mode & 0o100)
        whole.update(f"{name}\0{executable:d}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a relative path is among globs: `*` and `?` stay inside one folder, `**` crosses them."""
    return any(_glob(pattern).fullmatch(path) for pattern in patterns)


@cache
def _glob(pattern: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces: list[str] = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)


def _refuse_unknown_in_harness(held: dict[str, Any], path: Path) -> None:
    """Unknown keys under `[harness]`, and that table misspelt; Harbor's own tables may hold more than we read."""
    for key in difflib.get_close_matches("harness", held.keys() - {"harness"}, 1):
        raise TaskError(f"task {path} has an unknown table [{key}]", "did you mean [harness]?")
    harness: dict[str, object] | None = held.get("harness")
    _refuse_unknown(harness, Harness.__struct_fields__, path, "harness")
    for key, kind in (("baseline", Baselines), ("tests", Tests)):
        inner = harness.get(key) if isinstance(harness, dict) else None
        _refuse_unknown(inner, kind.__struct_fields__, path, f"harness.{key}")


def _refuse_unknown(table: object, known: tuple[str, ...], path: Path, name: str) -> None:
    if not isinstance(table, dict):
        return
    unknown = next((key for key in map(str, cast("dict[object, object]", table)) if key not in known), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"keys: {', '.join(known)}"
        raise TaskError(f"task {path} has an unknown key {unknown!r} in [{name}]", hint)
