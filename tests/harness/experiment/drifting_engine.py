"""A simulation in real time that says it became slower: named `tests.harness.experiment.drifting_engine`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from backends.base import Event, Evidence, Facts, Forced, JsonObject, Prompt, Request, Target
from backends.scripted import Options, Scripted


class _State(msgspec.Struct):
    slower: float = 1.0
    requests: int = 0
    slow_requests: int = 0


STATE = _State()


def open_engine(target: Target) -> DriftingEngine:
    """A fresh simulation."""
    return DriftingEngine(Scripted(Options()))


class DriftingEngine:
    """The simulation without its clock, as fast as `STATE` says."""

    def __init__(self, inner: Scripted) -> None:
        self._inner = inner

    def stream(self, request: Request) -> Iterator[Event]:
        """As the simulation, but for its prefill time; the next `slow_requests` are disturbed."""
        STATE.requests += 1
        slower = 5.0 if STATE.slow_requests else STATE.slower
        STATE.slow_requests = max(0, STATE.slow_requests - 1)
        for event in self._inner.stream(request):
            if isinstance(event, Evidence) and event.prefill_ns is not None:
                yield msgspec.structs.replace(event, prefill_ns=round(event.prefill_ns * slower))
            else:
                yield event

    def render(self, request: Request) -> Prompt:
        """As the simulation."""
        return self._inner.render(request)

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """As the simulation."""
        return self._inner.forced(request, reply)

    def reset(self) -> None:
        """As the simulation."""
        self._inner.reset()

    def facts(self) -> Facts:
        """As the simulation."""
        return self._inner.facts()

    def pids(self) -> tuple[int, ...]:
        """None."""
        return ()

    def close(self) -> None:
        """As the simulation."""
        self._inner.close()
