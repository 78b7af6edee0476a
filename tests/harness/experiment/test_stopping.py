"""Ending early: what stops, when, what is written of it, and what is said of it afterwards."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.experiment.blocks import Cell, cells_of
from harness.experiment.document import document_of
from harness.experiment.observations import observations_of
from harness.experiment.plan import Plan, PlanError
from harness.experiment.pricing import Told
from harness.experiment.running import Progress, go_through, still_to_do
from harness.experiment.stopping import Stopper, check_stopping, decided_by, sequential_of
from harness.experiment.store import Done, Experiment, StoredExperiment, create, read_experiment
from harness.stats import TIME_TO_SUCCESS, look, pair_up
from profiler.dispatch_records import DispatchRecord
from profiler.report.ab import print_ab
from tests.harness.experiment.plans import done, plan, record

NOTHING = Told({}, {})
SECONDS = {"A": 10.0, "B": 6.0, "C": 16.0, "same": 10.0}


class Killed(BaseException):
    """As much of a kill as one process can do to itself."""


def stored_at(tmp_path: Path, made: Plan) -> StoredExperiment:
    return read_experiment(create(tmp_path, Experiment("x-1", "ab", 0, made)))


def wall_s(cell: Cell, times: dict[str, float]) -> float:
    """A few percent that no arm can be blamed for, the same every time; an arm that is the same wins by chance."""
    return times[cell.arm] * (1 + 0.01 * ((cell.order * 7919) % 13 - 6) / 6)


def run(
    stored: StoredExperiment, before: list[Done], times: dict[str, float] = SECONDS, kill_after: int | None = None
) -> list[Done]:
    """The dispatches that are run after those that were there, as `dyno ab` goes through them."""
    made = stored.experiment.plan
    cells = cells_of(made)
    stopper = Stopper(msgspec.structs.replace(stored, done=tuple(before)))
    ended = list(before)

    def perform(cell: Cell, attempt: int) -> DispatchRecord:
        found = record(wall_s(cell, times))
        ended.append(done(cell, found, attempt=attempt))
        if len(ended) == kill_after:
            raise Killed  # it is stored, and nothing was decided by it yet
        return found

    def tell(progress: Progress) -> None:
        stopper.saw(progress)

    todo = [one for one in still_to_do(cells, before) if stopper.wanted(one.cell)]
    with suppress(Killed):
        go_through(todo, perform, of=sum(map(stopper.wanted, cells)), on_done=tell, wanted=stopper.wanted)
    return ended


def finished(stored: StoredExperiment, ended: list[Done]) -> StoredExperiment:
    """As it would be read from disk."""
    decisions = read_experiment(stored.path).decisions
    return msgspec.structs.replace(stored, done=tuple(ended), decisions=decisions)


def test_a_large_difference_ends_it_after_eight_pairs(tmp_path: Path) -> None:
    stored = stored_at(tmp_path, plan(blocks=2, stop_early=True))
    ended = run(stored, [])
    assert len(ended) == 16
    (decision,) = finished(stored, ended).decisions
    assert (decision.treatment, decision.order, decision.pairs, decision.won, decision.lost) == ("B", 15, 8, 8, 0)
    assert decision.better
    assert decision.e_value == pytest.approx(2**8 / 9)


def test_what_was_not_declared_is_not_looked_at(tmp_path: Path) -> None:
    stored = stored_at(tmp_path, plan(blocks=2))
    ended = run(stored, [])
    assert len(ended) == 24
    assert not (stored.path / "decisions.json").exists()
    document = document_of(finished(stored, ended), NOTHING)
    assert (document.status, document.not_needed, document.comparisons[0].sequential) == ("complete", 0, None)


def test_arms_that_do_not_differ_are_run_to_the_end(tmp_path: Path) -> None:
    stored = stored_at(tmp_path, plan(blocks=2, stop_early=True))
    ended = run(stored, [], {"A": 10.0, "B": 10.0})
    assert len(ended) == 24
    assert finished(stored, ended).decisions == ()


@pytest.mark.parametrize("kill_after", [3, 15, 16])
def test_killed_and_resumed_decides_the_same(tmp_path: Path, kill_after: int) -> None:
    """At 16 the deciding dispatch is on disk and the decision is not."""
    whole = stored_at(tmp_path / "whole", plan(blocks=2, stop_early=True))
    once = finished(whole, run(whole, []))
    broken = stored_at(tmp_path / "broken", plan(blocks=2, stop_early=True))
    part = run(broken, [], kill_after=kill_after)
    assert len(part) == kill_after
    again = finished(broken, run(read_experiment(broken.path), part))
    assert again.decisions == once.decisions
    assert [one.begun for one in again.done] == [one.begun for one in once.done]
    assert document_of(again, NOTHING) == document_of(once, NOTHING)


def test_an_experiment_that_was_stopped_does_not_go_on(tmp_path: Path) -> None:
    stored = stored_at(tmp_path, plan(blocks=2, stop_early=True))
    ended = run(stored, [])
    assert run(read_experiment(stored.path), ended) == ended


def test_of_three_arms_the_one_that_is_decided_is_run_no_more(tmp_path: Path) -> None:
    made = plan(3, blocks=3, stop_early=True)
    stored = stored_at(tmp_path, made)
    ended = run(stored, [], {**SECONDS, "C": 10.0})
    (decision,) = finished(stored, ended).decisions
    assert (decision.treatment, decision.alpha) == ("B", 0.025)
    after = [one.begun.arm for one in ended if one.begun.order > decision.order]
    assert set(after) == {"A", "C"}
    document = document_of(finished(stored, ended), NOTHING)
    assert (document.status, document.done + document.not_needed) == ("stopped", 54)
    assert document.comparisons[0].word == "better"


def test_both_sides_are_decided_and_then_the_baseline_too(tmp_path: Path) -> None:
    stored = stored_at(tmp_path, plan(3, blocks=3, stop_early=True))
    ended = run(stored, [])
    decisions = {one.treatment: one.better for one in finished(stored, ended).decisions}
    assert decisions == {"B": True, "C": False}
    assert len(ended) < 40


def report(stored: StoredExperiment, ended: list[Done]) -> str:
    out = io.StringIO()
    print_ab(document_of(finished(stored, ended), NOTHING), json_output=False, out=out)
    return " ".join(out.getvalue().split())


def test_the_report_says_what_decided_and_what_does_not_hold(tmp_path: Path) -> None:
    stored = stored_at(tmp_path, plan(blocks=2, stop_early=True))
    ended = run(stored, [])
    document = document_of(finished(stored, ended), NOTHING)
    (row,) = document.comparisons
    assert (document.status, document.done, document.not_needed) == ("stopped", 16, 8)
    assert row.sequential is not None
    assert (row.word, row.sequential.decided_pairs, row.more_blocks, row.power) == ("better", 8, None, None)
    assert row.primary.exploratory
    assert row.primary.adjusted_p is None
    assert row.sequential.ratio_high is not None
    assert row.sequential.ratio_high < 1
    text = report(stored, ended)
    assert text.startswith("BETTER B is better than A: time to verified success better in 8 of 8 pairs that tell")
    assert "(95 % at every look, 8 pairs, 6 tasks; signs); decided after 8 of 12 pairs." in text
    assert "for a fixed number of dispatches, and too sure here" in text
    assert "8 dispatches were not run: their arms were decided before" in text


def test_what_was_not_decided_cannot_be_told_whatever_its_interval_says(tmp_path: Path) -> None:
    """Four pairs that are all faster: t would call it better, and looking made that worth less."""
    stored = stored_at(tmp_path, plan(blocks=2, stop_early=True))
    ended = run(stored, [], kill_after=14)
    (row,) = document_of(finished(stored, ended), NOTHING).comparisons
    assert row.primary.high is not None
    assert row.primary.high < 1
    assert row.word == "cannot tell"


def test_a_guard_that_is_broken_forbids_better_here_too(tmp_path: Path) -> None:
    stored = stored_at(tmp_path, plan(blocks=2, stop_early=True, guards=("decode_tokens_per_s",)))
    ended = [
        done(cell, record(wall_s(cell, SECONDS), decode_ns=10**9 * (1 if cell.arm == "A" else 2)))
        for cell in cells_of(stored.experiment.plan)[:16]
    ]
    (row,) = document_of(msgspec.structs.replace(stored, done=tuple(ended)), NOTHING).comparisons
    assert row.guards[0].state == "broken"
    assert row.word == "cannot tell"
    assert "Against it: the guard decode_tokens_per_s is broken." in row.sentence


def test_pairs_are_looked_at_in_the_order_in_which_they_were_complete() -> None:
    """Two losses that came first, of tasks whose names sort last: by name it would be eight wins in a row."""
    made = plan(tasks=10, blocks=1, stop_early=True)
    tasks = ("t8", "t9", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t10")
    cells = [
        Cell(2 * number + half, 1, arm, task, fresh=True)
        for number, task in enumerate(tasks)
        for half, arm in enumerate("AB")
    ]
    lost = {"t8", "t9"}
    ended = [done(cell, record(20.0 if cell.arm == "B" and cell.task in lost else SECONDS[cell.arm])) for cell in cells]
    seen = observations_of(made, ended)
    by_name = look(pair_up(seen, "A", "B").pairs, TIME_TO_SUCCESS)
    assert (by_name.won, by_name.lost, by_name.stop) == (8, 2, True)
    assert not sequential_of(made, seen, "B").stop
    assert decided_by(made, seen) == ()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"primary": "success"}, "success cannot be ended early"),
        ({"tasks": 3}, "6 pairs are too few to be decided by looking after each: 8 in a row"),
        ({"arms": 4, "blocks": 1}, "6 pairs are too few"),
        ({"same_twice": True}, "aa"),
    ],
)
def test_what_can_never_be_decided_early_is_said_before(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said) as raised:
        check_stopping(plan(**{"blocks": 2, "stop_early": True, **fields}))
    assert raised.value.hint


def test_how_many_pairs_have_to_be_won() -> None:
    assert check_stopping(plan(blocks=2, stop_early=True)) == 11
    assert check_stopping(plan(blocks=2)) is None


def test_decisions_are_json_that_says_its_schema(tmp_path: Path) -> None:
    stored = stored_at(tmp_path, plan(blocks=2, stop_early=True))
    run(stored, [])
    held = json.loads((stored.path / "decisions.json").read_text())
    assert (held["schema"], held["decisions"][0]["treatment"]) == (1, "B")
