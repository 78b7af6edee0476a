"""Task packs and tasks by name, and the way from a name to a folder that an agent can work on. Verifies nothing.

A pack is a folder beside this file with a `pack.toml`:

    id = "debug"
    title = "ten planted bugs"
    version = "1.0"
    licence = "Apache-2.0"
    description = "…"
    instances = ["todo-1", "todo-2"]
    held_out = ["todo-2"]

    [difficulty]
    todo-1 = "medium"

and a `generator.py` with `build(instance, seed, folder)`. A task of the user's own is a folder, named by its path.
"""

from __future__ import annotations

import difflib
import importlib
import shutil
import tomllib
from pathlib import Path
from typing import Protocol, cast

import msgspec

from harness.tasks import harbor
from harness.tasks.base import AGENTS, Task, TaskError
from harness.tasks.folder import instruction, read_folder, trajectory

__all__ = [
    "FoundTask",
    "Pack",
    "find_task",
    "instruction",
    "list_packs",
    "materialise",
    "read_task",
    "trajectory",
]

_PACKS = Path(__file__).parent
_LIST = "`dyno tasks` lists those that there are"


class Pack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a `pack.toml` says. `held_out` instances are for confirming what was tuned on the others."""

    id: str
    title: str
    version: str
    licence: str
    instances: tuple[str, ...]
    description: str = ""
    held_out: tuple[str, ...] = ()
    difficulty: dict[str, str] = {}


class FoundTask(msgspec.Struct, frozen=True):
    """What a name means: an instance of a pack, or (`pack` is `None`) a folder of the user's own."""

    name: str
    pack: Pack | None = None
    instance: str = ""
    folder: Path | None = None


class _Generator(Protocol):
    def build(self, instance: str, seed: int, folder: Path) -> None: ...


def list_packs() -> tuple[Pack, ...]:
    """The packs that there are, by id. No generator is imported.

    Raises:
        TaskError: a `pack.toml` cannot be used.
    """
    return tuple(_read_pack(path) for path in sorted(_PACKS.glob("*/pack.toml")))


def find_task(name: str) -> FoundTask:
    """The task that a name means: `pack/instance`, a prefix that only one has, or the path of a task's folder.

    Raises:
        TaskError: nothing has that name (the nearest one is named), or several begin with it.
    """
    folder = Path(name).expanduser()
    if (folder / "task.toml").is_file():
        return FoundTask(folder.resolve().name, folder=folder)
    named = {f"{pack.id}/{instance}": (pack, instance) for pack in list_packs() for instance in pack.instances}
    found = [key for key in named if key == name] or [key for key in named if name and key.startswith(name)]
    if len(found) == 1:
        pack, instance = named[found[0]]
        return FoundTask(found[0], pack, instance)
    if found:
        shown = ", ".join(found[:4]) + (", …" if len(found) > 4 else "")
        raise TaskError(f"{len(found)} tasks begin with {name!r}", f"name one of them: {shown}")
    if folder.is_dir():
        raise TaskError(f"folder {name} is no task: it has no task.toml", "docs/tasks.md describes a task's folder")
    near = difflib.get_close_matches(name, named, 1, cutoff=0.5)
    raise TaskError(f"no task is named {name!r}", f"did you mean {near[0]}?" if near else _LIST)


def materialise(name: str, seed: int, folder: Path) -> Task:
    """Write a task's folder, read it back and check it. The same name and seed give the same bytes, and hash.

    A folder of the user's own is copied, and `seed` is not used; one in Harbor's layout gets its `workspace/`.

    Raises:
        TaskError: no such task, something is already at `folder`, or what was written is no complete task.
    """
    found = find_task(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TaskError(f"{folder} is not empty", "a task is written into a new folder: name another one")
    if found.pack is None:
        assert found.folder is not None
        shutil.copytree(found.folder, folder, symlinks=True, dirs_exist_ok=True)
        harbor.make_workspace(folder)
        return msgspec.structs.replace(read_task(folder), name=found.name)
    folder.mkdir(parents=True, exist_ok=True)
    _generator(found.pack).build(found.instance, seed, folder)
    task = read_task(folder)
    _check(task, found, seed)
    return task


def read_task(folder: Path) -> Task:
    """The task in a folder; what a pack says of its instance (difficulty, held out) is added.

    Raises:
        TaskError: the folder holds no complete task.
    """
    task = read_folder(folder)
    pack = next((pack for pack in list_packs() if pack.id == task.pack), None)
    if pack is None:
        return task
    instance = task.name.partition("/")[2]
    return msgspec.structs.replace(
        task,
        difficulty=pack.difficulty.get(instance, task.difficulty),
        held_out=instance in pack.held_out,
    )


def _read_pack(path: Path) -> Pack:
    try:
        pack = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Pack)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise TaskError(f"pack {path}: {error}", "docs/tasks.md describes a pack") from error
    strangers = {*pack.held_out, *pack.difficulty} - {*pack.instances}
    if pack.id != path.parent.name or strangers:
        what = f"names instances that it has not: {', '.join(sorted(strangers))}" if strangers else "has another id"
        raise TaskError(f"pack {path} {what}", "a pack's id is its folder's name, its instances stand in `instances`")
    return pack


def _generator(pack: Pack) -> _Generator:
    """Found by the folder's name, when a task is built: importing all would make every start slower."""
    return cast("_Generator", importlib.import_module(f"harness.tasks.{pack.id}.generator"))


def _check(task: Task, found: FoundTask, seed: int) -> None:
    """What every instance of a pack has; a user's own task may have less."""
    assert found.pack is not None
    if (task.name, task.pack, task.seed) != (found.name, found.pack.id, seed):
        said = f"{task.name} of pack {task.pack!r} with seed {task.seed}"
        raise TaskError(f"the generator of {found.name}, seed {seed}, wrote {said}", "correct its task.toml")
    missing = [part for part in ("workspace", "solution/solve.sh") if not (task.folder / part).exists()]
    if missing:
        raise TaskError(f"task {task.name} has no {' and no '.join(missing)}", "correct the pack's generator")
    for scope in task.harness.scopes:
        instruction(task, scope)
        for agent in AGENTS:
            trajectory(task, agent, scope)
