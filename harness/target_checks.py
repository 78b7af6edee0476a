"""Whether a target could be opened, as far as that can be said without opening it; and what its engine's options mean.

The meanings are those of `docs/targets.md`, which lies among the bundled targets too; they are written nowhere else.
"""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

import msgspec

from backends import load
from backends.base import EngineError, MissingExtra, ModelFileError, Target, TargetError
from backends.options import convert_options
from harness.doctor import LAUNCHED, NEEDS, EngineState, engine_state
from harness.targets import BUNDLED

__all__ = ["OptionRow", "check_target", "fault_of", "option_rows"]

DOCUMENT = BUNDLED / "README.md"
_OF_FILES = LAUNCHED & NEEDS.keys()
"""Engines that are launched on a model's file or folder; of a running server they need nothing."""


class OptionRow(msgspec.Struct, frozen=True):
    """An option of an engine; `value` is `None` where the target does not give it, `default` where none is set."""

    name: str
    value: str | None
    default: str | None
    meaning: str | None


def check_target(target: Target) -> None:
    """Check engine, options and paths; nothing is launched and no server is asked.

    Raises:
        UnknownEngine: no such engine; names the nearest.
        TargetError: an unknown option (names the nearest) or a wrong value; no model file there.
        MissingExtra: a package is missing that the engine needs.
    """
    convert_options(target.options, load(target.engine).Options, target.engine)
    if target.url is None and target.model and target.engine in _OF_FILES and not Path(target.model).exists():
        hint = "correct the path; in a target's file it is relative to that file"
        raise ModelFileError(f"no model {target.model}", hint=hint)
    binary = target.options.get("binary")
    if target.url is None and binary is not None:
        if shutil.which(binary) is None:
            raise TargetError(f"binary {binary} is not an executable program", hint="give the path of the program")
    elif (target.url is None or target.engine not in _OF_FILES) and not (state := _state(target.engine)).installed:
        raise MissingExtra(f"engine {target.engine} is not installed here", hint=state.install)


@cache
def _state(engine: str) -> EngineState:
    """Found once for a whole list: a program on the PATH is asked for its version."""
    return engine_state(engine)


def fault_of(target: Target) -> str | None:
    """What `check_target` finds wrong, in one line; `None` if nothing."""
    try:
        check_target(target)
    except EngineError as error:
        words = f"{error} ({error.hint})" if error.hint else str(error)
        return f"cannot check: {words}" if isinstance(error, MissingExtra) else words
    return None


def option_rows(target: Target) -> tuple[OptionRow, ...]:
    """Every option of the target's engine.

    Raises:
        UnknownEngine, MissingExtra: the engine's adapter cannot be read.
    """
    meanings = _meanings(target.engine)
    given = {key.replace("-", "_"): value for key, value in target.options.items()}
    return tuple(
        OptionRow(field.name, given.get(field.name), _text(field.default), meanings.get(field.name))
        for field in msgspec.structs.fields(load(target.engine).Options)
    )


def _text(default: object) -> str | None:
    if default in (None, "", msgspec.NODEFAULT):
        return None
    return {True: "on", False: "off"}[default] if isinstance(default, bool) else str(default)


@cache
def _meanings(engine: str) -> dict[str, str]:
    """By option, what the table in an engine's section says; nothing for an engine from outside."""
    section = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {engine}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \| (.*) \|$", section, re.MULTILINE)
    return {name: meaning.replace("`", "") for names, meaning in rows for name in re.findall(r"`(\w+)`", names)}
