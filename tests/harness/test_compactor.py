"""Another model that writes the summaries: it is asked, told apart, and leaves the first engine's cache alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.base import TargetError
from harness.cli.ab_stand import arm_target
from harness.experiment.document import document_of
from harness.experiment.plan import Plan
from harness.experiment.plan_words import arm_of_word, tasks_of_words
from harness.experiment.pricing import told_of
from harness.experiment.store import Experiment, create, read_experiment
from profiler.dispatch_store import read_dispatches
from profiler.store import read_run
from tests.harness.test_ab_stand import go_on

EARLY = "plain,history.policy=summarise,history.at_share=0.01,history.keep_turns=1"


def run(tmp_path: Path, target: str, compactor: str, cache: Any = "warm-within") -> Path:
    words = (EARLY, f"{EARLY},history.compactor={compactor}")
    arms = tuple(arm_of_word(word, target, "oracle") for word in words)
    tasks = tasks_of_words(["toolbench/chain2-1"], 0)
    plan = Plan("two", arms, tasks, blocks=1, cache=cache, fidelity="rehearse", pauses=0)
    path = create(tmp_path, Experiment("an-experiment", "ab", 0, plan))
    go_on(path)
    return path


def requests_of(path: Path) -> dict[str, list[tuple[str, str | None, int]]]:
    """Of each arm: the conversation, the engine that is another one, and the number of each request that counts."""
    stored = read_experiment(path)
    found: dict[str, list[tuple[str, str | None, int]]] = {}
    for one in stored.done:
        if not one.begun.warm_up:
            found[one.begun.arm] = [
                (record.conversation, record.engine, record.request_id)
                for record in read_run(path / one.load).requests
                if record.session == one.ended.dispatch_id
            ]
    return found


@pytest.mark.parametrize("cache", ["warm-within", "carry"])
def test_summaries_are_asked_of_the_compactor_and_of_nobody_else(tmp_path: Path, cache: str) -> None:
    path = run(tmp_path, "scripted:", "scripted:?slots=2", cache)
    found = requests_of(path)
    itself, another = found[EARLY], found[f"{EARLY},history.compactor=scripted:?slots=2"]
    assert {engine for _, engine, _ in itself} == {None}
    assert "compaction" in {conversation for conversation, _, _ in itself}
    by_engine = {(conversation, engine) for conversation, engine, _ in another}
    assert by_engine == {("main", None), ("compaction", "scripted:?slots=2")}
    for load in read_experiment(path).loads:
        numbers = [record.request_id for record in read_run(path / load).requests]
        assert numbers == list(range(1, len(numbers) + 1))


def test_what_the_summary_costs_counts_and_no_cause_is_told_of_it(tmp_path: Path) -> None:
    path = run(tmp_path, "scripted:", "scripted:?slots=2")
    stored = read_experiment(path)
    document = document_of(stored, told_of(stored))
    for arm in document.arms:
        assert arm.cache is not None
    (point,) = [point for point in document.points if "compactor" in point.arm]
    run_ = read_run(path / point.run)
    mine = [record for record in run_.requests if record.session == point.dispatch_id]
    assert point.measures["evaluated_tokens"] == sum(record.evidence.evaluated_tokens or 0 for record in mine)
    assert document.arms[1].cache is not None
    assert document.arms[1].cache.requests == sum(record.engine is None for record in mine)
    (dispatch,) = [one for one in read_dispatches(path / point.run)[0] if one.started.dispatch_id == point.dispatch_id]
    assert any("compacted: summarise" in event for turn in dispatch.turns for event in turn.events)


def test_a_compactor_that_is_not_there_is_said_before_anything_runs() -> None:
    arm = arm_of_word(f"{EARLY},history.compactor=tinny", "scripted:", "oracle")
    plan = Plan("one", (arm,), tasks_of_words(["toolbench/chain2-1"], 0), fidelity="rehearse")
    with pytest.raises(TargetError, match="tinny"):
        arm_target(plan, arm)


@pytest.mark.engine
def test_a_real_compactor_beside_a_real_engine(tmp_path: Path) -> None:
    path = run(tmp_path, "tiny", "tiny-q4_k_m", "carry")
    stored = read_experiment(path)
    document = document_of(stored, told_of(stored))
    assert [arm.passed for arm in document.arms] == [1, 1]
    another = requests_of(path)[stored.experiment.plan.arms[1].name]
    (engine,) = {engine for conversation, engine, _ in another if conversation == "compaction"}
    assert engine is not None
    assert "tiny-q4_k_m" in engine
