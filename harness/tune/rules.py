"""Rules about levers that are not free of each other, as data: `profiles/tuning/rules.toml`, and a plan's own. Pure.

    [[inert]]                                   # the lever does nothing where all of this holds
    lever = "prompt.volatile_at"
    where = { "prompt.volatile" = "none" }

    [[impossible]]                              # nothing can be run where all of this holds
    where = { "target.slots" = ["1"], "target.kv" = "q8_0" }
    why = "in words"

    cost_only = ["target.slots"]                # at the head of the file: what a rehearsal can decide

Values are compared as they are written; a list means any of them. A lever that is not varied has its value of the
current setting. What settings and engines refuse by themselves needs no rule (`harness.tune.space`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from harness.experiment.plan import PlanError

__all__ = ["BUNDLED_RULES", "Impossible", "Inert", "Rules", "excluded_by_words", "holds", "read_rules", "text_of"]

BUNDLED_RULES = Path(__file__).parents[2] / "profiles" / "tuning" / "rules.toml"
_FORM = "the form of rules is shown in docs/tune.md"

Values = dict[str, str | int | float | bool | list[str | int | float | bool]]


class Inert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lever that does nothing where `where` holds: settings that differ in it alone are one setting."""

    lever: str
    where: Values
    why: str = ""


class Impossible(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What cannot be run, or is not wanted."""

    where: Values
    why: str = ""


class Rules(msgspec.Struct, frozen=True):
    """All rules of a space."""

    inert: tuple[Inert, ...] = ()
    impossible: tuple[Impossible, ...] = ()
    cost_only: tuple[str, ...] = ()
    """Levers that change what work costs, and nothing of what the model reads or may do."""

    def with_more(self, more: Rules) -> Rules:
        """These rules and others."""
        return Rules(
            (*self.inert, *more.inert), (*self.impossible, *more.impossible), (*self.cost_only, *more.cost_only)
        )


def read_rules(path: Path = BUNDLED_RULES) -> Rules:
    """The rules of a file. Raises PlanError."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Rules)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise PlanError(f"rules {path}: {error}", hint=_FORM) from error


def excluded_by_words(words: str) -> Impossible:
    """The rule of `lever=value,lever=value`, as behind `--exclude`. Raises PlanError."""
    where: Values = {}
    for part in words.split(","):
        lever, equals, value = part.partition("=")
        if not equals or not lever.strip():
            raise PlanError(f"--exclude {words}: {part!r} is no lever and value", hint="--exclude a.b=x,c.d=y")
        where[lever.strip()] = value.strip()
    return Impossible(where, "excluded")


def holds(where: Values, values: Mapping[str, str]) -> bool:
    """Whether all of a condition holds for a setting's values; a lever that has none fulfils no condition."""
    return all(_is(values.get(lever), wanted) for lever, wanted in where.items())


def text_of(value: object) -> str:
    """A value as it is written in rules, on the command line and in points."""
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)


def _is(value: str | None, wanted: object) -> bool:
    every: list[object] = list(wanted) if isinstance(wanted, list) else [wanted]  # pyright: ignore[reportUnknownArgumentType]
    return value is not None and value in {text_of(one) for one in every}
