"""Going through the sittings of a comparison: what is left, each step once, failures put aside. Starts no engine.

A candidate whose engine fails is a result with its reason: nothing more of it is tried, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from backends.base import EngineError
from harness.quant.plan import Step, sittings_of
from harness.quant.steps import StepDone
from profiler.quality.errors import QualityError

__all__ = ["Performs", "Progress", "Sits", "go_through", "still_to_do"]

Performs = Callable[[Step], StepDone]
"""Does a step on the engine of a sitting, and gives what is to be stored. Raises EngineError."""

Sits = Callable[[tuple[Step, ...]], AbstractContextManager[Performs]]
"""Loads what the steps of a sitting need. Raises EngineError."""


class Progress(NamedTuple):
    """A step that has just ended, and what is left."""

    done: StepDone
    left: tuple[Step, ...]


def still_to_do(steps: Sequence[Step], done: Iterable[StepDone]) -> tuple[Step, ...]:
    """What of a plan was neither done nor given up, in its order."""
    ended = list(done)
    keys = {one.step.key for one in ended}
    given_up = {one.step.candidate for one in ended if one.failed is not None and one.step.kind != "quality"}
    return tuple(
        step for step in steps if step.key not in keys and (step.kind == "quality" or step.candidate not in given_up)
    )


def go_through(
    todo: Sequence[Step],
    sit: Sits,
    store: Callable[[StepDone], None],
    *,
    failed: Callable[[Step, EngineError | QualityError], StepDone],
    on_done: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Do what is to be done, in order, and store each step as soon as it is done.

    `failed` makes what is stored of a step whose engine failed, or whose quality cannot be told. Anything else ends the
    comparison, which can be resumed: Ctrl-C, a full disk, a task that cannot be had.
    """
    given_up: set[str] = set()
    waiting = list(todo)

    def ended(done: StepDone) -> None:
        store(done)
        on_done(Progress(done, tuple(step for step in waiting if step.candidate not in given_up)))

    for sitting in sittings_of(todo):
        quality = sitting[0].kind == "quality"
        if sitting[0].candidate in given_up and not quality:
            waiting = waiting[len(sitting) :]
            continue
        current = sitting[0]
        try:
            with sit(sitting) as perform:
                for current in sitting:
                    done = perform(current)
                    waiting.remove(current)
                    ended(done)
        except (EngineError, QualityError) as error:
            if current in waiting:
                waiting = [step for step in waiting if step not in sitting]
                if not quality:
                    given_up.add(current.candidate)
                ended(failed(current, error))
