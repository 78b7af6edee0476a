"""Going through the dispatches of a plan: what is left, each once, a faulty one once more. Starts no engine.

A fault of the infrastructure is no outcome: it is counted, and that dispatch is repeated once, at once. One that was
killed or interrupted left no outcome either, and is done again when the experiment is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from harness.experiment.blocks import Cell
from harness.experiment.store import CellBegun, Done
from profiler.dispatch_records import DispatchRecord

__all__ = ["ATTEMPTS", "Progress", "Todo", "go_through", "is_fault", "is_outcome", "still_to_do"]

ATTEMPTS = 2


class Todo(NamedTuple):
    """A dispatch that is still to be done, with the attempts at it that ended in a fault."""

    cell: Cell
    faults: int


class Progress(NamedTuple):
    """A dispatch that has just ended: what it was, and how many of how many are done."""

    cell: Cell
    attempt: int
    record: DispatchRecord
    done: int
    of: int


def is_outcome(record: DispatchRecord) -> bool:
    """Whether a dispatch ended in an outcome: the agent's doing, and the verifier could tell."""
    return record.exit_status not in ("infra_fault", "aborted") and record.outcome.valid


def is_fault(record: DispatchRecord) -> bool:
    """Whether something else than the agent ended it, or its verifier failed."""
    return record.exit_status != "aborted" and not is_outcome(record)


def still_to_do(cells: Sequence[Cell], done: Iterable[Done]) -> tuple[Todo, ...]:
    """What of a plan has no outcome yet and was not given up, in the plan's order."""
    outcomes: set[tuple[int, str, str]] = set()
    faults: dict[tuple[int, str, str], int] = {}
    for one in done:
        if one.begun.warm_up:
            continue
        key = _key(one.begun)
        if is_outcome(one.ended):
            outcomes.add(key)
        elif is_fault(one.ended):
            faults[key] = faults.get(key, 0) + 1
    open_cells = (Todo(cell, faults.get(cell.key, 0)) for cell in cells if cell.key not in outcomes)
    return tuple(todo for todo in open_cells if todo.faults < ATTEMPTS)


def go_through(
    todo: Sequence[Todo],
    perform: Callable[[Cell, int], DispatchRecord],
    *,
    of: int,
    on_done: Callable[[Progress], None] = lambda _: None,
    wanted: Callable[[Cell], bool] = lambda _: True,
) -> None:
    """Do what is to be done, in order, `of` so many in all with what was done before.

    `perform` does a dispatch at its nth attempt and stores it; what it raises ends the experiment, and can be resumed.
    `wanted` is asked before each whether it is still needed.
    """
    done = of - len(todo)
    for cell, faults in todo:
        if not wanted(cell):
            of -= 1
            continue
        for attempt in range(faults + 1, ATTEMPTS + 1):
            record = perform(cell, attempt)
            over = not is_fault(record) or attempt == ATTEMPTS
            done += over
            on_done(Progress(cell, attempt, record, done, of))
            if over:
                break


def _key(begun: CellBegun) -> tuple[int, str, str]:
    return begun.block, begun.arm, begun.task
