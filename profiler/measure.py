"""Measure one request: stamp, take one event, stamp. Nothing is parsed, judged, printed or written here.

The stamps are on one monotonic clock. An engine that stamps its own events (a worker process) shares that clock; a
simulated engine brings the clock that it moves (`backends.base.KeepsTime`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import cast

import msgspec

from backends.base import (
    CallPart,
    Delta,
    DeltaKind,
    Engine,
    EngineError,
    Event,
    Evidence,
    KeepsTime,
    Opened,
    Request,
    Stop,
)
from profiler.records import Failure, Reply, Stamps, ToolCall

Clock = Callable[[], int]


class Measurement(msgspec.Struct, frozen=True):
    """What one request took and brought. With an `error`, everything up to the failure stands."""

    stamps: Stamps
    evidence: Evidence
    reply: Reply
    error: Failure | None = None

    @property
    def ttft_ns(self) -> int | None:
        """Time to the first text of any kind, ns; `None` if there was none."""
        first = self.stamps.first_delta_ns
        return None if first is None else first - self.stamps.sent_ns


def clock_of(engine: Engine) -> Clock:
    """The clock to measure this engine by, in ns: its own if it simulates time, else the system's monotonic clock."""
    return engine.clock if isinstance(engine, KeepsTime) else time.perf_counter_ns


def measure(engine: Engine, request: Request, clock: Clock | None = None) -> Measurement:
    """Send one request and stamp what comes back.

    An engine error becomes part of the result. Ctrl-C closes the stream, so that the engine stops, and propagates.
    """
    return taken(lambda: engine.stream(request), clock or clock_of(engine))


def taken(stream: Callable[[], Iterator[Event]], now: Clock) -> Measurement:
    """What a stream of events says, stamped as they come where they are not stamped already."""
    collected = _Collected()
    error: Failure | None = None
    sent_ns = now()
    try:
        # Adapters write `stream` as a generator; closing it ends the request on the engine.
        with closing(cast("_Closable", stream())) as events:
            for event in events:
                collected.take(event, now())
    except EngineError as failure:
        error = Failure(kind=type(failure).__name__, message=str(failure))
    done_ns = collected.stop_ns if collected.stop_ns is not None else now()
    return Measurement(
        stamps=collected.stamps(sent_ns, done_ns if error is None else None),
        evidence=collected.evidence,
        reply=collected.reply(),
        error=error,
    )


class _Closable(Iterator[Event]):
    def close(self) -> None: ...


class _Collected:
    """The events of one reply, kept raw while the clock runs."""

    __slots__ = ("deltas", "evidence", "first_sign_ns", "stop_ns", "stop_reason")

    def __init__(self) -> None:
        self.deltas: list[tuple[int, Delta]] = []
        self.evidence = Evidence()
        self.first_sign_ns: int | None = None
        self.stop_ns: int | None = None
        self.stop_reason: str | None = None

    def take(self, event: Event, arrived_ns: int) -> None:
        if isinstance(event, Evidence):
            self.evidence = event
            return
        at_ns = event.at_ns if event.at_ns is not None else arrived_ns
        if self.first_sign_ns is None:
            self.first_sign_ns = at_ns
        if isinstance(event, Delta):
            self.deltas.append((at_ns, event))
        elif isinstance(event, Stop):
            self.stop_ns, self.stop_reason = at_ns, event.reason
        else:
            assert isinstance(event, Opened)

    def stamps(self, sent_ns: int, done_ns: int | None) -> Stamps:
        with_text = [at for at, delta in self.deltas if delta.text]
        output = next((at for at, delta in self.deltas if delta.text and delta.kind != "reasoning"), None)
        return Stamps(
            sent_ns=sent_ns,
            first_sign_ns=self.first_sign_ns,
            first_delta_ns=with_text[0] if with_text else None,
            first_output_ns=output,
            last_delta_ns=with_text[-1] if with_text else None,
            done_ns=done_ns,
            deltas_ns=tuple(with_text),
        )

    def reply(self) -> Reply:
        text: dict[DeltaKind, list[str]] = {}
        token_ids: list[int] | None = []
        for _, delta in self.deltas:
            text.setdefault(delta.kind, []).append(delta.text)
            if delta.token_ids is None:
                token_ids = None
            elif token_ids is not None:
                token_ids.extend(delta.token_ids)
        return Reply(
            text={kind: "".join(parts) for kind, parts in text.items()},
            token_ids=tuple(token_ids) if token_ids else None,
            stop_reason=self.stop_reason,
            calls=_calls(delta.call for _, delta in self.deltas if delta.call is not None),
        )


def _calls(parts: Iterable[CallPart]) -> tuple[ToolCall, ...]:
    """The calls of a reply, each put together from its parts, in the order in which they began.

    Another id begins another call at the same index too: llama-server's responses say no index.
    """
    calls: list[ToolCall] = []
    places: dict[int, int] = {}
    for part in parts:
        place = places.get(part.index)
        if place is None or (part.id and calls[place].id not in ("", part.id)):
            place = places[part.index] = len(calls)
            calls.append(ToolCall("", "", ""))
        before = calls[place]
        calls[place] = ToolCall(before.id or part.id, before.name + part.name, before.arguments + part.arguments)
    return tuple(calls)
