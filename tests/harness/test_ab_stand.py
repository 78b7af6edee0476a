"""Experiments on a simulated engine: what each dispatch finds, and what a kill in the middle loses (nothing)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.cli.ab_stand import Stand
from harness.experiment.blocks import cells_of
from harness.experiment.document import document_of
from harness.experiment.plan import CacheState, Plan, PlanError
from harness.experiment.plan_words import arm_of_word, tasks_of_words
from harness.experiment.pricing import told_of
from harness.experiment.running import Progress, go_through, still_to_do
from harness.experiment.store import Experiment, StoredExperiment, create, find_experiment, read_experiment
from profiler.ab_document import AbDocument
from profiler.dispatch_store import read_dispatches
from profiler.run_files import StoreError
from profiler.store import read_run
from tests.harness.experiment import drifting_engine
from tests.harness.fixing import fix_engine
from tests.harness.tasks.bare_sandbox import BareSandbox
from tests.profiler.dispatches import CONFINED

HOSTILE = "plain,prompt.volatile=counter"
TASKS = ["toolbench/chain2-1", "toolbench/chain2-2", "toolbench/select-1"]


def made(tmp_path: Path, cache: CacheState = "warm-within", target: str | None = "scripted:", **further: Any) -> Path:
    arms = tuple(arm_of_word(word, target, "oracle") for word in ("plain", HOSTILE))
    fidelity = "rehearse" if target else "dispatch"
    tasks = tasks_of_words(further.pop("tasks", TASKS), 0)
    fields = {"blocks": 2, "cache": cache, "fidelity": fidelity, **further}
    plan = Plan(title="two", arms=arms, tasks=tasks, **fields)
    return create(tmp_path, Experiment("an-experiment", "ab", 0, plan))


class Killed(BaseException):
    """As much of a kill as one process can do to itself."""


def go_on(path: Path, *, stop_after: int | None = None) -> None:
    stored = read_experiment(path)
    cells = cells_of(stored.experiment.plan)
    seen = 0

    def tell(_: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == stop_after:
            raise Killed

    with Stand(stored, BareSandbox(), CONFINED) as stand:
        todo = still_to_do(cells, stored.done)
        stand.warm_up(todo[0].cell)
        go_through(todo, stand.perform, of=len(cells), on_done=tell)


def reported(stored: StoredExperiment) -> AbDocument:
    return document_of(stored, told_of(stored))


def figures(document: AbDocument) -> object:
    """A document without the names of runs, which differ, and without what the machine did meanwhile."""
    points = [msgspec.structs.replace(point, run="", dispatch_id="", doubts=()) for point in document.points]
    kept = [(point.order, point.arm, point.task, point.success, point.time_s, point.measures) for point in points]
    return document.arms, document.comparisons, sorted(kept, key=lambda one: one[0])


def test_killed_in_the_middle_and_resumed_gives_the_same_and_repeats_nothing(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole")
    go_on(whole)
    broken = made(tmp_path / "broken")
    for stop_after in (4, 3):
        with pytest.raises(Killed):
            go_on(broken, stop_after=stop_after)
        assert reported(read_experiment(broken)).status == "partial"
    go_on(broken)
    once, again = reported(read_experiment(whole)), reported(read_experiment(broken))
    assert (once.status, once.done) == ("complete", 12)
    assert figures(once) == figures(again)
    done = read_experiment(broken).done
    assert Counter(one.begun.order for one in done if not one.begun.warm_up) == {order: 1 for order in range(12)}
    assert sum(one.begun.warm_up for one in done) == 3


def test_a_dispatch_that_was_killed_before_its_end_is_done_again(tmp_path: Path) -> None:
    path = made(tmp_path)
    go_on(path)
    (load,) = (folder for folder in path.iterdir() if folder.is_dir())
    lines = (load / "dispatches.jsonl").read_bytes().splitlines(keepends=True)
    (load / "dispatches.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    stored = read_experiment(path)
    assert len(still_to_do(cells_of(stored.experiment.plan), stored.done)) == 1
    assert any("killed before its end" in note for note in reported(stored).notes)
    go_on(path)
    document = reported(read_experiment(path))
    assert (document.status, document.done, len(document.points)) == ("complete", 12, 12)


def test_every_dispatch_starts_with_an_empty_cache_and_is_warm_within(tmp_path: Path) -> None:
    path = made(tmp_path)
    go_on(path)
    run = read_run(path / "001")
    first = {record.session: record for record in reversed(run.requests)}
    assert {record.evidence.cached_tokens for record in first.values()} == {0}
    assert any(record.evidence.cached_tokens for record in run.requests)
    assert len({record.request_id for record in run.requests}) == len(run.requests)


def test_a_carried_cache_is_empty_only_at_the_start_of_a_stretch(tmp_path: Path) -> None:
    path = made(tmp_path, "carry")
    go_on(path)
    run = read_run(path / "001")
    dispatches, _ = read_dispatches(path / "001")
    first = {record.session: record for record in reversed(run.requests)}
    fresh = {f"{one.begun.number:04d}": one.begun.fresh for one in read_experiment(path).done if not one.begun.warm_up}
    assert sum(fresh.values()) == 4
    plain = [one.started for one in dispatches if one.started.setting == "plain"][1:]
    for started in plain:
        cached = first[started.dispatch_id].evidence.cached_tokens
        assert (cached == 0) == fresh[started.dispatch_id[:4]]


def test_cold_is_an_engine_of_its_own_for_each_dispatch(tmp_path: Path) -> None:
    path = made(tmp_path, "cold", blocks=1)
    go_on(path)
    assert len(read_experiment(path).loads) == 1 + 6


def test_the_verdict_and_its_causes_are_what_the_lever_does(tmp_path: Path) -> None:
    path = made(tmp_path, target="scripted:?prefill_ns_per_token=10000000")
    go_on(path)
    (row,) = reported(read_experiment(path)).comparisons
    whole, *parts = row.parts
    assert whole.difference_s > 0
    assert (parts[0].part, parts[0].code) == ("lost", "P1")
    assert sum(part.difference_s for part in parts) == pytest.approx(whole.difference_s)
    by_name = {metric.metric: metric for metric in row.metrics}
    assert by_name["turns"].value in (None, 1.0)


def test_scripted_agents_alone_need_no_engine(tmp_path: Path) -> None:
    path = made(tmp_path, target=None, blocks=1)
    go_on(path)
    document = reported(read_experiment(path))
    assert [arm.passed for arm in document.arms] == [3, 3]


def test_a_task_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    stored = read_experiment(path)
    plan = stored.experiment.plan
    wrong = msgspec.structs.replace(plan, tasks=tuple(msgspec.structs.replace(t, sha256="1" * 64) for t in plan.tasks))
    changed = msgspec.structs.replace(stored, experiment=msgspec.structs.replace(stored.experiment, plan=wrong))
    with (
        pytest.raises(PlanError, match="is not what it was when the experiment was planned"),
        Stand(changed, BareSandbox(), CONFINED) as stand,
    ):
        stand.warm_up(cells_of(wrong)[0])


def test_a_changed_sandbox_is_refused_when_it_is_resumed(tmp_path: Path) -> None:
    path = made(tmp_path)
    with pytest.raises(Killed):
        go_on(path, stop_after=1)
    stored = read_experiment(path)
    other = msgspec.structs.replace(CONFINED, network_closed=False)
    with (
        pytest.raises(PlanError, match=r"sandbox\.network_closed is True and False"),
        Stand(stored, BareSandbox(), other) as stand,
    ):
        stand.perform(cells_of(stored.experiment.plan)[1], 1)


def test_an_experiment_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    path = made(tmp_path)
    assert find_experiment(tmp_path, "an-ex") == find_experiment(tmp_path, "latest") == path
    with pytest.raises(PlanError, match="no experiment 'b'"):
        find_experiment(tmp_path, "b")
    with pytest.raises(StoreError, match="no experiment in"):
        read_experiment(tmp_path)


DYING = "tests.harness.fixing.fix_engine:?"


def test_an_engine_that_dies_is_a_fault_which_is_counted_and_repeated_on_a_new_one(tmp_path: Path) -> None:
    fix_engine.start()
    path = made(tmp_path, target=DYING + "fails_at=9", blocks=1)
    go_on(path)
    stored = read_experiment(path)
    document = reported(stored)
    assert (document.status, document.done) == ("complete", 6)
    assert sum(arm.faults for arm in document.arms) == 1
    assert [arm.outcomes for arm in document.arms] == [3, 3]
    (excluded,) = (point for point in document.points if point.excluded)
    again = next(point for point in document.points if point.order == excluded.order and not point.excluded)
    assert (excluded.exit_status, excluded.attempt, again.attempt) == ("infra_fault", 1, 2)
    assert again.run != excluded.run


def test_an_engine_without_a_reset_is_started_anew_for_each_dispatch(tmp_path: Path) -> None:
    fix_engine.start()
    path = made(tmp_path, target=DYING, blocks=1)
    go_on(path)
    assert len(fix_engine.STATE.opened) == 1 + 6


def test_a_server_of_somebody_else_cannot_be_emptied_and_may_carry(tmp_path: Path) -> None:
    fix_engine.start()
    path = made(tmp_path / "warm", target=DYING + "launched=off", blocks=1)
    with pytest.raises(PlanError, match="cannot be emptied: dyno did not start that server") as raised:
        go_on(path)
    assert raised.value.hint is not None
    assert "--cache carry" in raised.value.hint
    carried = made(tmp_path / "carry", "carry", target=DYING + "launched=off", blocks=1)
    go_on(carried)
    assert reported(read_experiment(carried)).status == "complete"


def test_a_machine_that_drifts_is_waited_for_and_then_marked(tmp_path: Path) -> None:
    path = made(tmp_path, target="tests.harness.experiment.drifting_engine:?", blocks=1, pauses=2, pause_s=7.0)
    stored = read_experiment(path)
    first, second, third, fourth, *_ = cells_of(stored.experiment.plan)
    slept: list[float] = []
    state = drifting_engine.STATE
    state.slower = 1.0
    with Stand(stored, BareSandbox(), CONFINED, sleep=slept.append) as stand:
        stand.perform(first, 1)
        assert slept == []
        state.slower = 1.5
        stand.perform(second, 1)
        assert slept == [7.0, 7.0]
        stand.perform(third, 1)
        assert slept == [7.0, 7.0], "what did not settle is not waited for again"
        state.slower = 1.05
        stand.perform(fourth, 1)
    doubts = [[doubt.pauses for doubt in one.doubts] for one in read_experiment(path).done]
    assert doubts == [[], [2], [0], []]
    assert "the anchor's prefill went from" in read_experiment(path).done[1].doubts[0].text


def test_a_machine_that_recovers_while_it_is_left_alone_is_not_marked(tmp_path: Path) -> None:
    path = made(tmp_path, target="tests.harness.experiment.drifting_engine:?", blocks=1)
    stored = read_experiment(path)
    first, second, *_ = cells_of(stored.experiment.plan)
    state = drifting_engine.STATE
    state.slower = 1.0

    def recover(_: float) -> None:
        state.slower = 1.0

    with Stand(stored, BareSandbox(), CONFINED, sleep=recover) as stand:
        stand.perform(first, 1)
        state.slower = 2.0
        stand.perform(second, 1)
    assert [one.doubts for one in read_experiment(path).done] == [(), ()]


def test_a_faster_machine_is_not_waited_for_and_makes_what_was_before_doubtful(tmp_path: Path) -> None:
    path = made(tmp_path, target="tests.harness.experiment.drifting_engine:?", blocks=1, pauses=2)
    stored = read_experiment(path)
    first, second, third, *_ = cells_of(stored.experiment.plan)
    slept: list[float] = []
    state = drifting_engine.STATE
    state.slower = 2.0
    with Stand(stored, BareSandbox(), CONFINED, sleep=slept.append) as stand:
        stand.perform(first, 1)
        state.slower = 1.0
        stand.perform(second, 1)
    assert slept == []
    document = reported(read_experiment(path))
    marked = [[doubt for doubt in point.doubts if "anchor" in doubt] for point in document.points]
    assert [len(doubts) for doubts in marked] == [1, 0]
    assert "(+100%)" in marked[0][0]
    (row,) = (row for row in document.doubts if row.code == "drift")
    assert (row.dispatches, row.worst) == (1, marked[0][0])
    # The faster one is the reference, after a resume as well.
    state.slower = 2.0
    with Stand(read_experiment(path), BareSandbox(), CONFINED, sleep=slept.append) as stand:
        stand.perform(third, 1)
    assert len(slept) == 2
    assert read_experiment(path).done[2].doubts[0].change == pytest.approx(-0.5, abs=0.01)


def test_a_disturbed_first_anchor_is_no_reference(tmp_path: Path) -> None:
    path = made(tmp_path, target="tests.harness.experiment.drifting_engine:?", blocks=1)
    stored = read_experiment(path)
    first, second, *_ = cells_of(stored.experiment.plan)
    slept: list[float] = []
    state = drifting_engine.STATE
    state.slower, state.slow_requests = 1.0, 3
    with Stand(stored, BareSandbox(), CONFINED, sleep=slept.append) as stand:
        stand.perform(first, 1)
        assert state.slow_requests == 0
        stand.perform(second, 1)
    anchors = read_experiment(path).anchors["001"]
    assert anchors[0].prefill_tokens_per_s != pytest.approx(anchors[-1].prefill_tokens_per_s, rel=0.5)
    assert len(anchors) == 5 + 1
    assert (slept, [one.doubts for one in read_experiment(path).done]) == ([], [(), ()])
