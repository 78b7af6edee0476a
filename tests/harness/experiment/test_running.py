"""Going through a plan: what is done once, what twice, and what a resumed experiment still has to do."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.experiment.blocks import Cell, cells_of
from harness.experiment.running import Progress, go_through, is_fault, is_outcome, still_to_do
from profiler.dispatch_records import DispatchRecord
from tests.harness.experiment.plans import done, plan, record

CELLS = cells_of(plan(blocks=1))
FAULT = record(exit_status="infra_fault", verified="not_run")


def test_all_is_done_once_and_in_order() -> None:
    seen: list[tuple[Cell, int]] = []

    def perform(cell: Cell, attempt: int) -> DispatchRecord:
        seen.append((cell, attempt))
        return record()

    told: list[Progress] = []
    go_through(still_to_do(CELLS, ()), perform, of=len(CELLS), on_done=told.append)
    assert seen == [(cell, 1) for cell in CELLS]
    assert [one.done for one in told] == list(range(1, len(CELLS) + 1))


@pytest.mark.parametrize("faults", [1, 2, 9])
def test_a_fault_is_repeated_once_and_no_more(faults: int) -> None:
    seen: Counter[int] = Counter()

    def perform(cell: Cell, attempt: int) -> DispatchRecord:
        seen[cell.order] += 1
        assert attempt == seen[cell.order]
        return FAULT if cell.order == 3 and attempt <= faults else record()

    told: list[Progress] = []
    go_through(still_to_do(CELLS, ()), perform, of=len(CELLS), on_done=told.append)
    assert seen[3] == 2
    assert seen.total() == len(CELLS) + 1
    assert told[-1].done == len(CELLS)


def test_what_has_an_outcome_is_not_done_again_and_a_failure_is_one() -> None:
    before = [
        done(CELLS[0], record()),
        done(CELLS[1], record(verified="fail", exit_status="limit_turns")),
        done(CELLS[2], record(exit_status="aborted", verified="not_run")),
        done(CELLS[3], FAULT),
        done(CELLS[4], FAULT),
        done(CELLS[4], FAULT, attempt=2),
        done(CELLS[5], record(), warm_up=True),
        done(CELLS[6], record(valid=False)),
    ]
    left = still_to_do(CELLS, before)
    assert [(todo.cell.order, todo.faults) for todo in left] == [
        (2, 0),
        (3, 1),
        (5, 0),
        (6, 1),
        *((n, 0) for n in range(7, 12)),
    ]


def test_a_repeat_after_a_kill_is_the_second_attempt() -> None:
    attempts: list[int] = []

    def perform(cell: Cell, attempt: int) -> DispatchRecord:
        attempts.append(attempt)
        return FAULT

    go_through(still_to_do(CELLS[:1], [done(CELLS[0], FAULT)]), perform, of=1)
    assert attempts == [2]


def test_what_the_user_interrupts_propagates() -> None:
    def perform(cell: Cell, attempt: int) -> DispatchRecord:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_through(still_to_do(CELLS, ()), perform, of=len(CELLS))


def test_a_verifier_that_failed_is_a_fault_and_a_wrong_solution_is_an_outcome() -> None:
    assert is_fault(record(valid=False))
    assert is_outcome(record(verified="fail"))
    aborted = record(exit_status="aborted", verified="not_run")
    assert not is_fault(aborted)
    assert not is_outcome(aborted)
