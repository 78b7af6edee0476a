"""The parent's side of planning: a planner for every engine that is llama.cpp, by llama-cpp-python in a worker.

An engine brings what its own settings come to (`Resolve`); the worker, which is started by the first question, knows no
engine. A worker that dies of a model is replaced by the next question.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import msgspec

from backends import missing_extra
from backends.base import EngineDied, LaunchError, Target, TargetError
from backends.gguf_header import GgufHeader, read_header
from backends.workers.frames import Order
from backends.workers.header_copy import plannable_file
from backends.workers.planning_messages import AskTypeSizes, Plan, Planned, PlanSettings, TypeSizes
from backends.workers.process import Worker

__all__ = ["LlamaPlanner", "Resolve"]

A = TypeVar("A", bound=msgspec.Struct)

Resolve = Callable[[Target, GgufHeader], PlanSettings]
"""The settings in force for a target whose model has this header; raises `TargetError` for a wrong option."""


class LlamaPlanner:
    """Plans targets of one engine; see `Planner`."""

    def __init__(self, engine: str, resolve: Resolve) -> None:
        """`engine` is its name in errors.

        Raises:
            MissingExtra: llama-cpp-python is not installed.
        """
        if find_spec("llama_cpp") is None:
            raise missing_extra("llama_cpp", engine)
        self._engine = engine
        self._resolve = resolve
        self._worker: Worker | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id; `None` before the first question and after the end."""
        return None if self._worker is None else self._worker.pid

    def plan(self, target: Target) -> str:
        """See `Planner.plan`; with a line of `llama_get_memory_breakdown` for each memory, where the library tells."""
        if target.model is None or target.url is not None:
            raise TargetError(f"a plan of {self._engine} needs a model file", hint=f"write {self._engine}:model.gguf")
        with tempfile.TemporaryDirectory(prefix="dyno-plan-") as folder:
            file = plannable_file(target.model, Path(folder))
            order = Plan(str(file), self._resolve(target, read_header(file)))
            try:
                return self._ask(order, Planned).log
            except EngineDied:
                # Only the breakdown reads memory that no declaration of the library vouches for.
                return self._launch(msgspec.structs.replace(order, breakdown=False), Planned).log

    def quantised_bytes(self, model: str) -> dict[str, int]:
        """See `Planner.quantised_bytes`."""
        with tempfile.TemporaryDirectory(prefix="dyno-plan-") as folder:
            return self._launch(AskTypeSizes(str(plannable_file(model, Path(folder)))), TypeSizes).tensor_bytes

    def close(self) -> None:
        """End the worker. May be called twice."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None

    def _launch(self, order: Order, expected: type[A]) -> A:
        """`_ask`, where a death is the model's or the library's fault."""
        try:
            return self._ask(order, expected)
        except EngineDied as error:
            raise LaunchError(f"the planner of {self._engine} ended: {error}", hint=error.hint) from error

    def _ask(self, order: Order, expected: type[A]) -> A:
        if self._worker is None:
            self._worker = Worker("backends.workers.llama_cpp_planning", self._engine)
        try:
            return self._worker.ask(order, expected)
        except BaseException as error:
            # After an interrupt its answer is still to come, and would be taken for the next question's.
            if not isinstance(error, LaunchError):
                self.close()
            raise
