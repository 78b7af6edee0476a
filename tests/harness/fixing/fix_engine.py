"""The simulated engine for `dyno fix`, an adapter from outside: named `tests.harness.fixing.fix_engine`.

`launched=off` is a server that somebody else started: the same one for all who open it. `fails_at` counts requests over
all openings since `start`; then `how` happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from backends.base import EngineDied, Event, Facts, Forced, JsonObject, Prompt, Request, Target
from backends.options import convert_options
from backends.scripted import Options as ScriptedOptions
from backends.scripted import Scripted


class Options(msgspec.Struct, frozen=True):
    """`slot_prompt_similarity` is taken and means nothing: a lever that does not help."""

    slots: int = 1
    launched: bool = True
    fails_at: int | None = None
    how: Literal["interrupt", "die"] = "die"
    slot_prompt_similarity: float = 0.1


class _State(msgspec.Struct):
    requests: int = 0
    opened: list[Target] = []
    server: Scripted | None = None


STATE = _State()


def start() -> None:
    """Forget all openings."""
    STATE.requests, STATE.server = 0, None
    STATE.opened.clear()


def open_engine(target: Target) -> FixEngine:
    """A fresh simulation, or the one server that is there."""
    options = convert_options(target.options, Options, "fix")
    STATE.opened.append(target)
    inner = Scripted(ScriptedOptions(slots=options.slots))
    if not options.launched:
        STATE.server = inner = STATE.server or inner
    return FixEngine(inner, options)


class FixEngine:
    """A simulation that calls itself llama-server and may fail."""

    def __init__(self, inner: Scripted, options: Options) -> None:
        self._inner, self._options = inner, options

    def stream(self, request: Request) -> Iterator[Event]:
        """As the simulation, until it fails."""
        STATE.requests += 1
        if STATE.requests == self._options.fails_at:
            if self._options.how == "interrupt":
                raise KeyboardInterrupt
            raise EngineDied("it went away")
        yield from self._inner.stream(request)

    def render(self, request: Request) -> Prompt:
        """As the simulation."""
        return self._inner.render(request)

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """As the simulation."""
        return self._inner.forced(request, reply)

    def facts(self) -> Facts:
        """The simulation's, by the name of the engine that has most levers."""
        facts = self._inner.facts()
        return msgspec.structs.replace(facts, engine="llama-server", launched=self._options.launched, cache_kind=None)

    def pids(self) -> tuple[int, ...]:
        """None."""
        return ()

    def clock(self) -> int:
        """Simulated time."""
        return self._inner.clock()

    def close(self) -> None:
        """A server that somebody else started goes on."""
