"""The settings that are tuned over: levers with their levels, of harness and server alike, as points. Starts nothing.

A point is the level of each lever, in the order of the levers, as text. Two points that differ only in a lever that
does nothing there are one (the canonical one, with that lever at its first level). Points that a rule excludes, or that
the setting or the target refuses, are not in the space. The current setting is always in it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import prod

import msgspec

from backends.base import TargetError
from harness.experiment.plan import PlanError
from harness.settings import Setting, SettingError, levers, with_levers
from harness.tune.rules import Rules, holds, text_of

__all__ = ["DEFAULT", "MOST_LISTED", "Lever", "Point", "Space", "make_space", "parse_vary"]

DEFAULT = "default"
"""As a level of a server's option: what the target or the engine has without it."""
MOST_LISTED = 4096
"""A space with more combinations is not listed whole; points are drawn from it."""
_TARGET = "target."

Point = tuple[str, ...]


class Lever(msgspec.Struct, frozen=True):
    """A lever that is varied. `low` and `high` are the two levels of the screening: the extreme ones."""

    name: str
    levels: tuple[str, ...]

    @property
    def low(self) -> str:
        """The least level if all are numbers, else the first."""
        return min(self.levels, key=float) if self._numbers else self.levels[0]

    @property
    def high(self) -> str:
        """The greatest level if all are numbers, else the last."""
        return max(self.levels, key=float) if self._numbers else self.levels[-1]

    @property
    def _numbers(self) -> bool:
        return all(_is_number(level) for level in self.levels)

    def position(self, level: str) -> float:
        """Where a level lies from -1 (low) to 1 (high): numbers by their value, words at the ends or else at 0."""
        if level in (self.low, self.high):
            return -1.0 if level == self.low else 1.0
        if not self._numbers:
            return 0.0
        return 2 * (float(level) - float(self.low)) / (float(self.high) - float(self.low)) - 1


class Space(msgspec.Struct, frozen=True):
    """Levers around a current setting. `fixed` are the values of the levers that are not varied, for the rules."""

    setting: Setting
    setting_name: str
    levers: tuple[Lever, ...]
    current: Point
    rules: Rules = Rules()
    fixed: dict[str, str] = {}

    @property
    def combinations(self) -> int:
        """Of all levels, with those that are impossible or the same."""
        return prod(len(lever.levels) for lever in self.levers)

    def values(self, point: Point) -> dict[str, str]:
        """The level of each varied lever by its name."""
        return {lever.name: level for lever, level in zip(self.levers, point, strict=True)}

    def label(self, point: Point) -> str:
        """What a point is called: the levers in which it differs from the current setting."""
        own = zip(self.levers, point, self.current, strict=True)
        changed = [f"{lever.name}={level}" for lever, level, now in own if level != now]
        return " ".join(changed) or "current"

    def changes(self, point: Point) -> int:
        """In how many levers a point differs from the current setting."""
        return sum(level != now for level, now in zip(point, self.current, strict=True))

    def setting_of(self, point: Point) -> Setting:
        """The setting of a point; of the current one as it stands, inert levers too. Raises SettingError."""
        return self.setting if point == self.current else setting_at(self.setting, self.values(point))

    def canonical(self, point: Point) -> Point:
        """The point that stands for all that are the same setting; the current one stands for itself."""
        values = self.values(point)
        for _ in self.levers:  # what one rule sets may fulfil another
            everything = {**self.fixed, **values}
            idle = {rule.lever for rule in self.rules.inert if rule.lever in values and holds(rule.where, everything)}
            put = {lever.name: lever.levels[0] for lever in self.levers if lever.name in idle}
            if all(values[name] == level for name, level in put.items()):
                break
            values |= put
        return tuple(values[lever.name] for lever in self.levers)

    def why_not(self, point: Point) -> str | None:
        """Why a point cannot be run; `None` if it can."""
        everything = {**self.fixed, **self.values(point)}
        for rule in self.rules.impossible:
            if holds(rule.where, everything):
                return rule.why or "excluded"
        return None

    def points(self) -> tuple[Point, ...]:
        """All points that can be run, each once, the current one first. Raises PlanError if they are too many."""
        if self.combinations > MOST_LISTED:
            raise PlanError(f"{self.combinations} combinations are too many to list", hint="draw some of them")
        return self._possible(product(*(lever.levels for lever in self.levers)))

    def draw(self, number: int, seed: int) -> tuple[Point, ...]:
        """At most so many points by chance, each once, the current one first."""
        if self.combinations <= MOST_LISTED:
            first, *rest = self.points()
            return (first, *random.Random(seed).sample(rest, min(number - 1, len(rest))))
        chance = random.Random(seed)
        drawn = (tuple(chance.choice(lever.levels) for lever in self.levers) for _ in range(10 * number))
        return self._possible(drawn)[:number]

    def nearest(self, wanted: Point) -> Point | None:
        """The point that can be run and differs from a wanted one in the fewest levers; `None` beyond two."""
        tries = [wanted, *_changed(self.levers, wanted, 1), *_changed(self.levers, wanted, 2)]
        return next((self.canonical(point) for point in tries if self.why_not(point) is None), None)

    def _possible(self, wanted: Iterator[Point]) -> tuple[Point, ...]:
        found = dict.fromkeys((self.canonical(self.current),))
        for point in wanted:
            if self.why_not(point) is None:
                found.setdefault(self.canonical(point))
        return tuple(found)


def setting_at(setting: Setting, values: Mapping[str, str]) -> Setting:
    """A setting with levers at these levels; `default` leaves an option to the target. Raises SettingError."""
    changes = {name: value for name, value in values.items() if not (name.startswith(_TARGET) and value == DEFAULT)}
    dropped = {name.removeprefix(_TARGET) for name in values if name.startswith(_TARGET)}
    kept = {key: value for key, value in setting.target.items() if key not in dropped}
    return with_levers(msgspec.structs.replace(setting, target=kept), changes)


def parse_vary(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Levers with their levels from `lever=level,level`. Raises PlanError."""
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        listed = tuple(dict.fromkeys(level.strip() for level in text.split(",") if level.strip()))
        if not equals or not listed:
            raise PlanError(f"--vary {word}: no lever with levels", hint="--vary prompt.volatile=none,clock")
        if name.strip() in found:
            raise PlanError(f"the lever {name.strip()} is varied twice", hint="write its levels in one list")
        found[name.strip()] = listed
    return found


def make_space(
    setting: Setting,
    setting_name: str,
    vary: Mapping[str, Sequence[str]],
    rules: Rules,
    *,
    target_options: Mapping[str, str] | None = None,
    check: Callable[[Setting], None] = lambda _: None,
) -> Space:
    """The space of some levers around a setting, every level of each tried on its own.

    Args:
        setting: the current one.
        setting_name: as in records.
        vary: levels by lever; the current level is added where it is not among them.
        rules: what is inert or impossible.
        target_options: what the target says without the setting.
        check: is asked for each level whether the target takes it; raises TargetError.

    Raises:
        PlanError: no lever, a lever with one level, or nothing that can be run.
        SettingError: no such lever, or a level that it cannot have.
        TargetError: what `check` raises.
    """
    if not vary:
        raise PlanError("no lever is varied", hint="for example --vary prompt.volatile=none,clock")
    own = {name: text_of(value) for name, value in levers(setting).items()}
    own = {f"{_TARGET}{key}": text_of(value) for key, value in (target_options or {}).items()} | own
    found: list[Lever] = []
    for name, listed in vary.items():
        read = [_level(setting, name, level) for level in listed]
        now = own.get(name, DEFAULT) if name.startswith(_TARGET) else own[name]
        every = tuple(dict.fromkeys((*read, now)))
        if len(every) < 2:
            raise PlanError(f"the lever {name} has one level alone, {now}", hint=f"--vary {name}={now},…")
        for level in every:
            try:
                check(setting_at(setting, {name: level}))
            except TargetError as error:
                hint = error.hint or "what each option may be is in docs/targets.md"
                raise TargetError(f"{name}={level}: {error}", hint=hint) from error
        found.append(Lever(name, every))
    fixed = {name: value for name, value in own.items() if name not in vary}
    current = tuple(own.get(lever.name, DEFAULT) for lever in found)
    space = Space(setting, setting_name, tuple(found), current, rules, fixed)
    why = space.why_not(current)
    if why is not None:
        raise PlanError(f"the current setting {setting_name} is excluded: {why}", hint="exclude less")
    # The current setting by its canonical levels, so that it is called «current» wherever it is met.
    return msgspec.structs.replace(space, current=space.canonical(current))


def _level(setting: Setting, name: str, level: str) -> str:
    """A level as records would show it. Raises SettingError."""
    if name.startswith(_TARGET) and level == DEFAULT:
        return DEFAULT
    try:
        return text_of(levers(with_levers(setting, {name: level}))[name])
    except SettingError as error:
        raise SettingError(str(error).replace("--set ", "--vary ", 1), hint=error.hint) from error


def _changed(held: Sequence[Lever], point: Point, number: int) -> Iterator[Point]:
    for place, lever in enumerate(held):
        for level in lever.levels:
            if level != point[place]:
                other = (*point[:place], level, *point[place + 1 :])
                yield from (other,) if number == 1 else _changed(held, other, number - 1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
