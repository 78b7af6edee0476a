"""What a case of the battery is: a session, what is done to it on the way, and which causes must be named where.

Values alone. `Form` makes cases from seeds; `Made` is what it makes; `Case` names it, on one engine and cache kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, Literal

import msgspec

from backends.base import CacheKind, JsonObject
from harness.sessions import Turn

__all__ = [
    "ACT",
    "AFTERMATH",
    "CLEAN",
    "Case",
    "Form",
    "Made",
    "Size",
    "one_of",
    "where",
    "with_act",
]

ACT: Final = "dyno_act"
"""The key in a turn's parameters that tells the driver what to do with it; it is neither sent nor stored."""
CLEAN: Final = "clean"
"""The code of a case into which nothing was put."""

Size = Literal["usual", "small"]
"""How long prompts are: small ones for engines that evaluate a few hundred tokens a second."""

Wanted = tuple[frozenset[str], ...]
"""Sets of codes; of each set one has to be named."""

AFTERMATH: Final = frozenset({"E5", "E6", "E19"})
"""What may be named beside a cause of the prompt's side: the text changed, the cache could have kept what is before the
change, and this kind of cache, or another slot being chosen for the changed prompt, lost that too."""


class Made(msgspec.Struct, frozen=True):
    """A session made from a seed: its turns, what has to be named at which of them, what may be.

    A turn that is in neither has to stay without a cause. `repaired` holds the turns of the twin without the cause, in
    the same number and order, for pricing; `None` where there is none.
    """

    turns: tuple[Turn, ...]
    must: Mapping[int, Wanted] = {}
    may: Mapping[int, frozenset[str]] = {}
    repaired: tuple[Turn, ...] | None = None


Build = Callable[[Random, Size], Made]
Fits = Callable[[str, CacheKind], bool]


class Form(msgspec.Struct, frozen=True):
    """A way in which a cause comes about: its code, a name, how it is made, and where.

    `launch` holds launch options of the engine beside the usual ones, `template` a name of `templates.TEMPLATES`.
    `forced`: only where replies can be forced. `fits` says on which engines with which cache kinds it can occur.
    """

    code: str
    name: str
    build: Build
    fits: Fits = lambda _engine, _kind: True
    launch: Mapping[str, str] = {}
    template: str | None = None
    forced: bool = False


class Case(msgspec.Struct, frozen=True):
    """One case: a form on an engine with a cache kind, from a seed."""

    form: Form
    engine: str
    kind: CacheKind
    seed: int

    @property
    def name(self) -> str:
        """The case by name: `llama-server/full/P1.clock/3`."""
        return f"{self.engine}/{self.kind}/{self.form.code}.{self.form.name}/{self.seed}"

    def made(self, size: Size) -> Made:
        """The session of the case; equal for equal seeds."""
        return self.form.build(Random(f"{self.form.code} {self.form.name} {self.seed}"), size)


def one_of(*codes: str) -> Wanted:
    """That one of these codes has to be named."""
    return (frozenset(codes),)


def where(engines: str, *kinds: CacheKind) -> Fits:
    """Fits these engines (names apart by spaces), and these cache kinds (all if none is given)."""
    names = engines.split()
    return lambda engine, kind: engine in names and (not kinds or kind in kinds)


def with_act(turn: Turn, act: str) -> Turn:
    """The turn, with something for the driver to do."""
    parameters: JsonObject = {**turn.parameters, ACT: act}
    return msgspec.structs.replace(turn, parameters=parameters)
