"""An engine between replay and the real one, that does what a case asks for: cancel, rewrite, other tokens.

What it is told is in `ACT` of a request's parameters, and goes no further. Everything else is the real engine's;
nothing is judged here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from backends.base import (
    Engine,
    EngineFault,
    Event,
    Evidence,
    Facts,
    Forced,
    Forcer,
    JsonObject,
    Opened,
    Prompt,
    Request,
)
from benchmarks.injection.case import ACT
from tests.tiny_model.templates import FOLDER

__all__ = ["Driven", "DrivenForcer", "driven"]

_CANCEL_AFTER_S: Final = 0.03


class Driven:
    """The engine, under the acts of a case."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve a request; see `Engine.stream`."""
        act = request.parameters.get(ACT, "")
        if act == "cancel":
            yield from self._cancelled(_plain(request))
            return
        for event in self.engine.stream(_rewritten(request)):
            # The engine was started anew for this request, which servers that load on demand say themselves.
            if act == "restart" and isinstance(event, Evidence):
                event = msgspec.structs.replace(event, reloaded=True)
            yield event

    def render(self, request: Request) -> Prompt | None:
        """The prompt as the engine gets it."""
        return self.engine.render(_rewritten(request))

    def facts(self) -> Facts:
        """What the engine says of itself."""
        return self.engine.facts()

    def pids(self) -> tuple[int, ...]:
        """The engine's processes."""
        return self.engine.pids()

    def close(self) -> None:
        """End the engine."""
        self.engine.close()

    def _cancelled(self, request: Request) -> Iterator[Event]:
        """Give a request up as soon as the engine has shown a sign of life, and let it notice."""
        events = self.engine.stream(request)
        for event in events:
            if isinstance(event, Opened):
                yield event
            break
        close = getattr(events, "close", None)
        if close is not None:
            close()
        time.sleep(_CANCEL_AFTER_S)
        raise EngineFault("the client gave the request up")


class DrivenForcer(Driven):
    """The same, of an engine whose replies can be forced."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        assert isinstance(engine, Forcer)
        self._forcer = engine
        self._vocabulary: dict[str, int] = json.loads((FOLDER / "tokenizer.json").read_text())["model"]["vocab"]
        self._pieces = {number: piece for piece, number in self._vocabulary.items()}

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """The output that stands for a reply, by other tokens where the case says so."""
        forced = self._forcer.forced(_rewritten(request), reply)
        name, _, where = str(request.parameters.get(ACT, "")).partition(" ")
        if forced is None or name != "retokenise":
            return forced
        return msgspec.structs.replace(forced, token_ids=self._split(forced.token_ids, int(where)))

    def _split(self, ids: tuple[int, ...], where: int) -> tuple[int, ...]:
        """The same text with one token in two parts: near the beginning, later, or twice."""
        split = {index: parts for index, token in enumerate(ids) if (parts := self._parts(token)) is not None}
        places = [index for index in split if len(ids) - index > 12]
        chosen = set(places[:1] if where == 0 else places[len(places) // 3 : len(places) // 3 + where])
        return tuple(
            part for index, token in enumerate(ids) for part in (split[index] if index in chosen else (token,))
        )

    def _parts(self, token: int) -> tuple[int, int] | None:
        piece = self._pieces.get(token, "")
        if not re.fullmatch(r"Ġ?[a-z]{3,}", piece):
            return None
        cuts = ((piece[:n], piece[n:]) for n in range(len(piece) - 1, 0, -1))
        found = ((self._vocabulary.get(a), self._vocabulary.get(b)) for a, b in cuts)
        return next(((a, b) for a, b in found if a is not None and b is not None), None)


def driven(engine: Engine) -> Driven:
    """The engine under the driver; what it can do, the driven one can."""
    return DrivenForcer(engine) if isinstance(engine, Forcer) else Driven(engine)


def _plain(request: Request) -> Request:
    if ACT not in request.parameters:
        return request
    return msgspec.structs.replace(request, parameters={k: v for k, v in request.parameters.items() if k != ACT})


def _rewritten(request: Request) -> Request:
    """The request as what stands between client and engine passes it on."""
    name, _, kind = str(request.parameters.get(ACT, "")).partition(" ")
    plain = _plain(request)
    if name != "proxy":
        return plain
    first, *rest = plain.messages
    return msgspec.structs.replace(plain, messages=({**first, "content": _PROXIES[kind](first["content"])}, *rest))


_PROXIES: Final[dict[str, Callable[[str], str]]] = {
    "shortened": lambda system: system[: len(system) // 2].rpartition("\n")[0],
    "reworded": lambda system: system.replace("You ", "The assistant ").replace("you ", "it "),
    "squeezed": lambda system: re.sub(r"\n+", " ", system),
}
