"""Tunings as TOML files: where they lie, which one a name means, what is wrong with one. Starts nothing.

    schema = 1
    title = "what breaks the cache of my agent"
    setting = "focused"
    target = "tiny"
    tasks = ["toolbench:6"]
    held_out = ["toolbench/chain4-4"]         # without: the held-out tasks of those packs
    budget_min = 30

    [vary]
    "prompt.volatile" = ["none", "clock"]
    "target.slots" = ["default", 1, 2]

    [[impossible]]                            # and [[inert]], as in profiles/tuning/rules.toml
    where = { "prompt.volatile" = "clock", "target.slots" = 1 }

Plans are looked for by name in `./tuning`, in the user's folder (`$XDG_CONFIG_HOME/dyno/tuning`, or
`~/.config/dyno/tuning`) and among the bundled ones (`profiles/tuning`), or by the path of a file.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from harness.experiment.plan import PlanError
from harness.named_files import file_named, toml_files
from harness.tune.plan import SCHEMA, EngineFidelity
from harness.tune.rules import BUNDLED_RULES, Impossible, Inert

__all__ = ["TuneFile", "list_tunings", "places", "read_tuning", "tuning_named"]

_FORM = "the form is shown in docs/tune.md"


class TuneFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a plan's file may hold; all of it but the levers may be typed instead."""

    vary: dict[str, list[str | int | float | bool]] = {}
    tasks: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    setting: str = "plain"
    target: str | None = None
    agent: str | None = None
    title: str = ""
    name: str = "tuned"
    fidelity: EngineFidelity = "dispatch"
    budget_min: float = 60.0
    primary: str = "time_to_success_s"
    guards: tuple[str, ...] = ("success",)
    margin: float = 0.02
    guard_margin: float = 0.10
    seed: int = 0
    task_seed: int = 0
    pauses: int = 3
    impossible: tuple[Impossible, ...] = ()
    inert: tuple[Inert, ...] = ()
    cost_only: tuple[str, ...] = ()
    schema: int = SCHEMA


def places() -> tuple[Path, ...]:
    """The folders that hold plans, those of the working directory first; they need not exist."""
    own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return (Path("tuning"), own / "dyno" / "tuning", BUNDLED_RULES.parent)


def list_tunings() -> tuple[Path, ...]:
    """The files of all plans that can be named."""
    return tuple(path for path in toml_files(places()) if path.resolve() != BUNDLED_RULES.resolve())


def tuning_named(word: str) -> Path | None:
    """The file of a plan that a word means, a name or a path; `None` where it means none. Raises PlanError."""
    if word.endswith(".toml"):
        path = Path(word).expanduser()
        return path if _varies(path) else None
    if not any(path.stem == word for path in list_tunings()):
        return None
    return file_named(word, "plan", list_tunings(), lambda said, hint: PlanError(said, hint=hint), _FORM)


def read_tuning(path: Path) -> TuneFile:
    """The plan of a file.

    Raises:
        PlanError: it cannot be read, is no TOML (with the line), or has a wrong key or value.
    """
    try:
        held: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        if held.get("schema", SCHEMA) != SCHEMA:
            raise PlanError(f"plan {path} has schema {held['schema']!r}", hint=f"this dyno reads schema {SCHEMA}")
        return msgspec.convert(held, TuneFile)
    except OSError as error:
        raise PlanError(f"plan {path}: {error.strerror}", hint=_FORM) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise PlanError(f"plan {path}: {str(error).replace('`', '')}", hint=_FORM) from error


def _varies(path: Path) -> bool:
    """Whether a file is a plan and no setting: it has levers to vary. What cannot be read is told by who reads it."""
    try:
        return "vary" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
