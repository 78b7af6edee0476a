"""The program of a worker, whatever engine it holds: orders in on standard input, answers out on standard output.

A worker's own file says how its model is loaded, and calls `serve`. It judges nothing and prints nothing.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from backends.base import ContextOverflow, EngineError, Forced, JsonObject, LaunchError, Request
from backends.workers import frames
from backends.workers.frames import Abort, Answer, Began, Done, Ended, Failed, Load, Order, Piece, Ready, Rendered

PARENT_CHECK_S = 1.0


class Model(Protocol):
    """What a worker holds. Every method raises errors of `backends.base` alone."""

    def ready(self) -> Ready:
        """What only the engine knows of the loaded model."""
        ...

    def rendered(self, request: Request) -> Rendered:
        """The prompt of a request."""
        ...

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """The output that stands for a reply."""
        ...

    def generate(self, serial: int, request: Request, aborted: Callable[[], bool]) -> Iterator[Began | Piece | Ended]:
        """Serve a request; ends early once `aborted` says so."""
        ...

    def reset(self) -> None:
        """Forget every cached token."""
        ...


class Orders:
    """Orders from the parent, read by a thread, so that an abort is seen while the model works."""

    def __init__(self, descriptor: int) -> None:
        self._reader = frames.FrameReader(descriptor)
        self._waiting: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._aborted = 0
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Order:
        """The next order, waiting for it."""
        return self._waiting.get()

    def aborted(self, serial: int) -> bool:
        """Whether the generation with this serial is to end."""
        return self._aborted >= serial

    def _read(self) -> None:
        while True:
            try:
                order = frames.order_decoder.decode(self._reader.frame())
            except (frames.PeerGone, msgspec.DecodeError):
                # The parent is gone or talks nonsense. Native code may be busy in the main thread: leave
                # without asking it.
                os._exit(0)
            if isinstance(order, Abort):
                self._aborted = max(self._aborted, order.serial)
            else:
                self._waiting.put(order)


def serve(load: Callable[[Load], Model]) -> None:
    """Serve one parent until it closes our standard input; `load` makes the model of its first order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    send = _sender()
    orders = Orders(sys.stdin.fileno())
    model: Model | None = None
    while True:
        order = orders.next()
        serial = order.serial if isinstance(order, frames.Generate) else None
        try:
            if isinstance(order, Load):
                model = load(order)
                send(model.ready())
            elif model is None:
                raise LaunchError("no model is loaded")
            else:
                _serve(model, order, orders, send)
        except EngineError as error:
            send(_failed(error, serial))


def serve_orders(answer: Callable[[Order], Answer]) -> None:
    """Serve one parent until it closes our standard input, with one answer to each order and no model that stays."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    send = _sender()
    orders = Orders(sys.stdin.fileno())
    while True:
        order = orders.next()
        try:
            send(answer(order))
        except EngineError as error:
            send(_failed(error, None))


def _serve(model: Model, order: Order, orders: Orders, send: Callable[[Answer], None]) -> None:
    if isinstance(order, frames.Render):
        send(model.rendered(order.request))
    elif isinstance(order, frames.AskForced):
        send(frames.ForcedReply(model.forced(order.request, order.reply)))
    elif isinstance(order, frames.Reset):
        model.reset()
        send(Done())
    elif isinstance(order, frames.Generate):
        serial = order.serial
        for answer in model.generate(serial, order.request, lambda: orders.aborted(serial)):
            send(answer)


def _failed(error: EngineError, serial: int | None) -> Failed:
    overflow = error if isinstance(error, ContextOverflow) else None
    return Failed(
        kind=type(error).__name__,
        message=str(error),
        hint=error.hint,
        prompt_tokens=overflow.prompt_tokens if overflow else None,
        context_tokens=overflow.context_tokens if overflow else None,
        serial=serial,
    )


def _sender() -> Callable[[Answer], None]:
    """Keep standard output for frames, and let whatever native code prints there go to the log."""
    descriptor = os.dup(1)
    os.dup2(2, 1)

    def send(answer: Answer) -> None:
        try:
            frames.write_frame(descriptor, answer)
        except frames.PeerGone:
            os._exit(0)

    return send


def _end_with_parent() -> None:
    """End when the parent is gone, even if a process that it forked still holds our standard input open.

    Linux could signal us (PR_SET_PDEATHSIG), but does so as soon as the thread that started us ends.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
