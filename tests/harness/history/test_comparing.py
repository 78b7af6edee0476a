"""What forbids a comparison, what is compared with what, and figures that can be worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.experiment.comparability import Ground, differences
from harness.experiment.plan import PlanError
from harness.history.benchstat import benchstat_lines
from harness.history.comparing import Named, compared, observed
from harness.history.facts import FAMILIES, differing, exempt, facts_of, fewest_words
from harness.history.stored import read_work
from profiler.compare_document import CompareDocument
from tests.harness.history.stored_runs import FACTS, MACHINE, info, session_requests, write_dispatches, write_run
from tests.schema_file import check_schema_file

TASKS = [f"debug/todo-{number}" for number in range(1, 8)]


def test_the_schema_file_is_current() -> None:
    check_schema_file("compare", CompareDocument)


def named(*folders: Path) -> list[Named]:
    return [Named(folder.name, read_work(folder)) for folder in folders]


@pytest.mark.parametrize(
    ("change", "fact", "word"),
    [
        ({"facts": msgspec.structs.replace(FACTS, build="b2")}, "build is 'b1' and 'b2'", "build"),
        ({"facts": msgspec.structs.replace(FACTS, template_sha256=None)}, "template_sha256 is", "template_sha256"),
        ({"facts": msgspec.structs.replace(FACTS, model="x", quant="Q4")}, "model is 'tiny.gguf' and 'x'", "model"),
        (
            {"facts": msgspec.structs.replace(FACTS, settings={"kv": "q8_0"})},
            "settings.kv is None and 'q8_0'",
            "options",
        ),
        ({"machine": msgspec.structs.replace(MACHINE, cpu="other")}, "machine.cpu is", "machine"),
        ({"versions": {"llmdyno": "0.2"}}, "version of llmdyno is '0.1' and '0.2'", "versions"),
        ({"settings": {"sandbox": {"backend": "none"}, "cold": True}}, "sandbox.backend is None and 'none'", "sandbox"),
        ({"settings": {"cold": False}}, "cold is True and False", "cold"),
    ],
)
def test_a_fact_that_differs_forbids_it_by_its_name_unless_it_is_allowed(
    change: dict[str, Any], fact: str, word: str, tmp_path: Path
) -> None:
    a, b = named(write_run(tmp_path, "a")), named(write_run(tmp_path, "b", **change))
    with pytest.raises(PlanError, match=re.escape(fact)) as raised:
        compared(a, b)
    assert f"--although {word}" in (raised.value.hint or "")
    document = compared(a, b, [word])
    assert {row.although for row in document.although} == {word}
    assert all(row.a != row.b for row in document.although)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"fidelity": "dispatch"}, "fidelity is 'rehearse' and 'dispatch'"),
        ({"forcing": "length"}, "forcing is 'none' and 'length'"),
    ],
)
def test_fidelity_and_forcing_are_never_pooled(change: dict[str, Any], fact: str, tmp_path: Path) -> None:
    other = [msgspec.structs.replace(record, **change) for record in session_requests()]
    a, b = write_run(tmp_path, "a"), write_run(tmp_path, "b", other)
    with pytest.raises(PlanError, match=re.escape(fact)):
        compared(named(a), named(b))


def test_a_warm_beginning_is_not_compared_with_a_cold_one(tmp_path: Path) -> None:
    warm = session_requests()
    verdict = msgspec.structs.replace(warm[0].verdict, cached_tokens=95)
    b = write_run(tmp_path, "b", [msgspec.structs.replace(warm[0], verdict=verdict), *warm[1:]])
    with pytest.raises(PlanError, match="start is 'cold' and 'warm'"):
        compared(named(write_run(tmp_path, "a")), named(b))


def test_runs_of_one_side_must_be_equal_too(tmp_path: Path) -> None:
    other = msgspec.structs.replace(FACTS, build="b2")
    a, b, c = write_run(tmp_path, "a"), write_run(tmp_path, "b", facts=other), write_run(tmp_path, "c")
    with pytest.raises(PlanError, match="two runs of A cannot be compared: build"):
        compared(named(a, b), named(c))


def test_what_cannot_be_compared_at_all(tmp_path: Path) -> None:
    a, b = write_run(tmp_path, "a"), write_run(tmp_path, "b", session_requests("two"))
    with pytest.raises(PlanError, match="no session of A is also in B") as raised:
        compared(named(a), named(b))
    assert raised.value.hint == "A holds one; B holds two"
    with pytest.raises(PlanError, match="a is on both sides"):
        compared(named(a), named(a))
    with pytest.raises(PlanError, match="--although weather: there is no such fact"):
        compared(named(a), named(b), ["weather"])


def test_a_session_with_other_contents_is_not_the_same(tmp_path: Path) -> None:
    settings = {"repeat": 1, "cold": True, "sessions": {"one": {"sha256": "2" * 64}}}
    a, b = write_run(tmp_path, "a"), write_run(tmp_path, "b", settings=settings)
    with pytest.raises(PlanError, match="the session one of A and B cannot be compared: content"):
        compared(named(a), named(b))
    assert [row.name for row in compared(named(a), named(b), ["content"]).although] == ["content"]


def test_effects_are_paired_by_task_and_have_interval_and_n(tmp_path: Path) -> None:
    a = write_dispatches(tmp_path, "a", TASKS, wall_ms=1000)
    b = write_dispatches(tmp_path, "b", TASKS[1:], wall_ms=1500)
    c = write_dispatches(tmp_path, "c", ["debug/only-in-b", *TASKS[1:]], wall_ms=2500, day=1)
    document = compared(named(a), named(b, c))
    assert (document.unit, len(document.both), document.only_a, document.only_b) == (
        "task", 6, ("debug/todo-1",), ("debug/only-in-b",),
    )  # fmt: skip
    wall = next(row for row in document.metrics if row.effect.metric == "wall_s")
    # The first dispatch of a task in B is the pair of the only one in A; the second has none.
    assert (wall.a_median, wall.b_median, wall.effect.pairs, wall.effect.tasks) == (1.0, 1.5, 6, 6)
    assert wall.effect.value == pytest.approx(1.5)
    assert wall.effect.low is not None
    assert "6 pairs, 6 tasks" in wall.effect.text
    assert (document.b.verified, document.b.passed, document.b.outcomes) == (13, 13, 13)


def test_dispatches_under_two_settings_are_no_side(tmp_path: Path) -> None:
    a, b = write_dispatches(tmp_path, "a", TASKS), write_dispatches(tmp_path, "b", TASKS)
    file = b / "started.jsonl"
    file.write_text(file.read_text().replace('"focused"', '"bloated"', 1))
    with pytest.raises(PlanError, match="two dispatches of B cannot be compared: setting is 'bloated' and 'focused'"):
        compared(named(a), named(b))


def test_benchstat_lines_name_the_arm_and_what_is_better(tmp_path: Path) -> None:
    a, b = named(write_dispatches(tmp_path, "a", TASKS[:2])), named(write_dispatches(tmp_path, "b", TASKS[:2], 1500))
    lines = list(benchstat_lines(*observed(a, b), "task"))
    assert "Unit wall_s better=lower" in lines
    assert "Unit cached_share better=higher" in lines
    assert [line for line in lines if line.startswith("arm: ")] == ["arm: A", "arm: B"]
    rows = [line for line in lines if line.startswith("Benchmark")]
    assert len(rows) == 4
    assert rows[3].startswith("BenchmarkTask/debug:todo-2-1 1 1.5 wall_s ")
    for row in rows:
        name, times, *values = row.split(" ")
        assert (times, len(values) % 2) == ("1", 0)
        assert re.fullmatch(r"Benchmark[A-Z][\w:/.+-]*-1", name)
        assert all(
            float(value) >= 0 and re.fullmatch(r"[a-z_]+", unit)
            for value, unit in zip(*[iter(values)] * 2, strict=True)
        )


def test_the_facts_are_those_that_an_experiment_keeps_equal() -> None:
    a = info("a")
    for b in (info("b", facts=msgspec.structs.replace(FACTS, slots=2, launched=True)), info("b", versions={})):
        ours = differing(facts_of(a, (), ()), facts_of(b, (), ()))
        assert set(ours) == {name for name, _, _ in differences(Ground("a", None, a), Ground("b", None, b))}
        assert ours


@given(
    st.lists(st.sampled_from(["build", "model", "quant", "machine.cpu", "settings.kv", "version of python", "start"]))
)
def test_the_words_that_are_proposed_let_every_fact_differ(names: list[str]) -> None:
    words = fewest_words(names)
    assert all(exempt(name, words) for name in names)
    assert len(words) <= len(set(names))
    assert all(word in FAMILIES or word in names for word in words)
