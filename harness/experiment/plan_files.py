"""Plans as TOML files: where they lie, which one a name means, what is wrong with one. Starts nothing.

    schema = 1
    title = "skills: none, some, many"
    tasks = ["testgap", "debug:2"]     # packs (those not held out), the first N of one, single tasks, or folders
    blocks = 2
    target = "tiny"                    # for all arms that name none; --target takes its place

    [arms.none]
    setting = "focused"
    set = { "skills.bytes" = 0 }

    [arms.many]
    setting = "focused"
    set = { "skills.bytes" = 51_000 }

Plans are looked for by name in `./experiments`, in the user's folder (`$XDG_CONFIG_HOME/dyno/experiments`, or
`~/.config/dyno/experiments`) and among the bundled ones (`profiles/experiments`), or by the path of a file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from harness.experiment.plan import SCHEMA, Arm, CacheState, ExperimentFidelity, Plan, PlanError
from harness.experiment.plan_words import arm_named, tasks_of_words
from harness.named_files import file_named, toml_files

__all__ = ["BUNDLED", "SIMULATE", "is_plan", "list_plans", "places", "read_plan"]

BUNDLED = Path(__file__).parents[2] / "profiles" / "experiments"
SIMULATE: dict[str, Any] = {"primary": "evaluated_tokens", "guards": (), "blocks": 1}
"""What a simulation declares unless the plan does: it takes no time, its agent is scripted, a repeat is the same."""
_FORM = "the form is shown in docs/ab.md"


class _ArmTable(msgspec.Struct, forbid_unknown_fields=True):
    setting: str = "plain"
    set: dict[str, str | int | float | bool | list[str]] = {}
    target: str | None = None
    agent: str | None = None
    agent_env: dict[str, str] = {}
    agent_files: dict[str, str] = {}
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    tasks: tuple[str, ...]
    arms: dict[str, _ArmTable]
    schema: int = SCHEMA
    title: str = ""
    blocks: int = 2
    seed: int = 0
    task_seed: int = 0
    target: str | None = None
    agent: str | None = None
    cache: CacheState = "warm-within"
    fidelity: ExperimentFidelity = "dispatch"
    primary: str = "time_to_success_s"
    guards: tuple[str, ...] = ("success",)
    margin: float = 0.05
    guard_margin: float = 0.10
    pause_s: float = 20.0
    pauses: int = 3
    stop_early: bool = False


def places() -> tuple[Path, ...]:
    """The folders that hold plans, those of the working directory first; they need not exist."""
    own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return (Path("experiments"), own / "dyno" / "experiments", BUNDLED)


def list_plans() -> tuple[Path, ...]:
    """The files of all plans that can be named, by name."""
    return tuple(sorted(toml_files(places()), key=lambda path: path.stem))


def is_plan(word: str) -> bool:
    """Whether a word that stands alone means a plan: a file's path, or a plan's name."""
    return word.endswith(".toml") or any(path.stem == word for path in toml_files(places()))


def read_plan(word: str, changes: Mapping[str, object]) -> Plan:
    """The plan of a name or a file, with some of its keys as they were typed instead (`tasks`, `blocks`, `target` …).

    Raises:
        PlanError: no such plan, it cannot be read, is no TOML (with the line), or has a wrong key or value.
        SettingError, TaskError: a setting, a lever or a task in it cannot be had.
    """
    path = _path_of(word)
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"plan {path}: {error.strerror}", hint=_there()) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"plan {path}: {error}", hint=_FORM) from error
    return _plan({**held, **changes}, path)


def _plan(held: dict[str, Any], path: Path) -> Plan:
    where = f"plan {path}"
    if held.get("schema", SCHEMA) != SCHEMA:
        raise PlanError(f"{where} has schema {held['schema']!r}", hint=f"this dyno reads schema {SCHEMA}")
    _check_keys(held, where)
    if held.get("fidelity") == "simulate":
        held = {**SIMULATE, **held}
    try:
        file = msgspec.convert(held, _File)
        shared = {
            key: getattr(file, key)
            for key in ("blocks", "seed", "task_seed", "cache", "fidelity", "primary", "guards", "margin")
        }
        shared |= {key: getattr(file, key) for key in ("guard_margin", "pause_s", "pauses", "stop_early")}
        plan = msgspec.convert({"title": file.title or path.stem, "arms": (), "tasks": (), **shared}, Plan)
    except msgspec.ValidationError as error:
        words = str(error).replace("Object missing required field", "it has no").replace("`", "").replace("$.", "")
        raise PlanError(f"{where}: {words}", hint=_FORM) from error
    arms = tuple(_arm(key, table, file, path.parent) for key, table in file.arms.items())
    return msgspec.structs.replace(plan, arms=arms, tasks=tasks_of_words(file.tasks, file.task_seed))


def _arm(name: str, table: _ArmTable, file: _File, folder: Path) -> Arm:
    levers = {key: ",".join(value) if isinstance(value, list) else value for key, value in table.set.items()}
    arm = arm_named(name, table.setting, levers, table.target or file.target, table.agent or file.agent)
    return msgspec.structs.replace(
        arm,
        agent_env=tuple(f"{key}={value}" for key, value in table.agent_env.items()),
        # A template lies beside its plan; a path that does not is as it was typed.
        agent_files=tuple(
            f"{key}={folder.resolve() / value if (folder / value).is_file() else value}"
            for key, value in table.agent_files.items()
        ),
        readable=table.readable,
        writable=table.writable,
    )


def _check_keys(held: Mapping[str, Any], where: str) -> None:
    _known(held, _File.__struct_fields__, where)
    arms = held.get("arms")
    for name, table in cast("dict[str, Any]", arms).items() if isinstance(arms, dict) else ():
        if isinstance(table, dict):
            _known(cast("dict[str, Any]", table), _ArmTable.__struct_fields__, f"{where}, table [arms.{name}]")


def _known(held: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = next((key for key in held if key not in known), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise PlanError(f"{where} has an unknown key {unknown!r}", hint=hint)


def _path_of(word: str) -> Path:
    if word.endswith(".toml"):
        return Path(word).expanduser()
    return file_named(word, "plan", toml_files(places()), lambda said, hint: PlanError(said, hint=hint), _there())


def _there() -> str:
    return f"there are: {', '.join(path.stem for path in list_plans())}; or write the path of a .toml file"
