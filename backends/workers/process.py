"""The parent's side of a worker: start it, ask it, notice its death, end it. Knows frames, no engine.

A worker ends when its standard input closes, which happens however the parent ends. It has a session of its
own, so that Ctrl-C in a terminal reaches the parent alone, which then decides. Its native log goes to a
temporary file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import msgspec

import backends.base as errors
from backends.base import EngineDied, EngineError, EngineFault, LaunchError, Request
from backends.workers import frames
from backends.workers.frames import (
    Abort,
    Answer,
    Began,
    Ended,
    Failed,
    FrameReader,
    Generate,
    Order,
    PeerGone,
    Piece,
)

A = TypeVar("A", bound=msgspec.Struct)

LOG_TAIL_BYTES = 1 << 15
END_TIMEOUT_S = 10.0
_TROUBLE = ("error", "fail", "unable", "abort", "assert", "not found", "out of memory", "unknown", "invalid")


class Worker:
    """One worker process. One thread uses it at a time; a new order ends a reply that is still under way."""

    def __init__(self, module: str, engine: str, *, shared: int | None = None) -> None:
        """Start `python -m module`; `engine` is its name in errors, `shared` a descriptor that it inherits.

        Raises:
            LaunchError: it cannot start.
        """
        self._engine = engine
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        root = str(Path(__file__).parents[2])
        path = os.environ.get("PYTHONPATH")
        # -P: the user's folder must not shadow our modules or the engine's.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                bufsize=0,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([root, path] if path else [root])},
                start_new_session=True,
                pass_fds=() if shared is None else (shared,),
            )
        except OSError as error:
            self._log.close()
            raise LaunchError(f"engine {engine} did not start: {error}", hint="check free memory and limits") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input = self._process.stdin
        self._output = self._process.stdout
        self._reader = FrameReader(self._output.fileno())
        self._serial = 0
        self._under_way: int | None = None
        self._loaded_at = 0

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def ask(self, order: Order, expected: type[A]) -> A:
        """Give an order and wait for its answer.

        Raises:
            EngineError: the worker's own refusal, by its class.
            EngineDied: the worker ended, or answered something else.
        """
        self._settle()
        self._send(order)
        answer = self._receive()
        if isinstance(answer, Failed):
            raise error_of(answer)
        if not isinstance(answer, expected):
            raise self._death(f"answered {type(answer).__name__}")
        return answer

    def start(self, order: Order, expected: type[A]) -> A:
        """`ask`, for the order that loads the engine.

        Raises:
            LaunchError: the engine could not be loaded, or ended while it was; with its last log lines.
        """
        try:
            answer = self.ask(order, expected)
        except EngineDied as error:
            raise LaunchError(f"engine {self._engine} did not start: {error}", hint=error.hint) from error
        except LaunchError as error:
            raise LaunchError(str(error), hint=error.hint or self.trouble()) from error
        self._loaded_at = os.fstat(self._log.fileno()).st_size
        return answer

    def generate(self, request: Request) -> Generator[Began | Piece | Ended, None, None]:
        """Serve a request. Closing the iterator early ends the generation, and waits until it has ended.

        Raises:
            EngineError: the worker's own refusal; `EngineDied` if it ended.
        """
        self._settle()
        self._serial = serial = self._serial + 1
        self._under_way = serial
        try:
            self._send(Generate(serial, request))
            while True:
                self._check_open()
                if self._under_way != serial:
                    raise EngineFault("another request was started before this reply ended")
                answer = self._receive()
                if isinstance(answer, Failed):
                    self._under_way = None
                    raise error_of(answer)
                if not isinstance(answer, Began | Piece | Ended):
                    raise self._death(f"answered {type(answer).__name__}")
                if isinstance(answer, Ended):
                    self._under_way = None
                yield answer
                if isinstance(answer, Ended):
                    return
        finally:
            if self._under_way == serial:
                # Whoever closes us has a reason of its own (Ctrl-C), which a death must not replace: the next
                # order says it.
                with contextlib.suppress(EngineDied):
                    self._settle()

    def trouble(self, lines: int = 3) -> str | None:
        """The last log lines that speak of trouble, else the last lines; `None` if there are none."""
        said = self._log_tail()
        grave = [line for line in said if any(word in line.lower() for word in _TROUBLE)]
        return " | ".join((grave or said)[-lines:]) or None

    def load_log(self) -> str:
        """The native log up to when the engine was loaded; empty after `close`."""
        if self._log.closed:
            return ""
        return os.pread(self._log.fileno(), self._loaded_at, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """End the worker and wait for it. May be called twice."""
        self._under_way = None
        self._end()
        self._log.close()

    def _settle(self) -> None:
        """End a reply that is still under way and drop what is left of it."""
        if self._under_way is None:
            return
        self._send(Abort(self._under_way))
        while not isinstance(self._receive(), Ended | Failed):
            pass
        self._under_way = None

    def _send(self, order: Order) -> None:
        self._check_open()
        try:
            frames.write_frame(self._input.fileno(), order)
        except PeerGone as error:
            raise self._death() from error

    def _check_open(self) -> None:
        if self._input.closed:
            raise EngineDied(f"engine {self._engine} is closed", hint="open it again")

    def _receive(self) -> Answer:
        try:
            return frames.answer_decoder.decode(self._reader.frame())
        except PeerGone as error:
            raise self._death() from error
        except msgspec.DecodeError as error:
            raise self._death(f"sent what cannot be read: {error}") from error

    def _death(self, why: str | None = None) -> EngineDied:
        """End what may be left of the worker, and say how it ended."""
        self._under_way = None
        if why is not None:
            self._process.kill()
        code = self._end()
        return EngineDied(f"the process of engine {self._engine} {why or _how(code)}", hint=self.trouble())

    def _end(self) -> int:
        self._input.close()
        try:
            code = self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._output.close()
        return code

    def _log_tail(self) -> list[str]:
        if self._log.closed:
            return []
        # pread: the worker writes through the same file position.
        descriptor = self._log.fileno()
        start = max(0, os.fstat(descriptor).st_size - LOG_TAIL_BYTES)
        text = os.pread(descriptor, LOG_TAIL_BYTES, start).decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip(". \t")]


def error_of(failed: Failed) -> EngineError:
    """The error of `backends.base` that a worker's refusal stands for."""
    if failed.kind == "ContextOverflow":
        return errors.ContextOverflow(
            failed.message, prompt_tokens=failed.prompt_tokens, context_tokens=failed.context_tokens
        )
    kind: type[EngineError] = getattr(errors, failed.kind, EngineFault)
    return kind(failed.message, hint=failed.hint)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
