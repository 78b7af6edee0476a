"""The report of an experiment: the verdict first, no figure without its interval, and the document's schema."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from harness.experiment.blocks import cells_of
from harness.experiment.document import document_of
from harness.experiment.plan import Plan
from harness.experiment.pricing import Told
from harness.experiment.store import CellDoubt, Done, Experiment, StoredExperiment
from profiler.ab_document import AbDocument, CacheRow
from profiler.records import Failure
from profiler.report.ab import print_ab
from profiler.report.ab_tables import cache_cells
from tests.harness.experiment.plans import done, plan, record
from tests.schema_file import DOCS, check_schema_file

NOTHING = Told({}, {})


def jitter(order: int) -> float:
    """A few percent that no arm can be blamed for, the same every time."""
    return 1 + 0.01 * ((order * 7919) % 13 - 6) / 6


def stored(made: Plan, faster: float, kind: str = "ab", results: list[Done] | None = None) -> StoredExperiment:
    cells = cells_of(made)
    seconds = {"A": 10.0, "B": 10.0 * faster}
    if results is None:
        results = [done(cell, record(seconds[cell.arm] * jitter(cell.order))) for cell in cells]
    experiment = Experiment("x-1", kind, 0, made)  # type: ignore[arg-type]
    return StoredExperiment(Path("runs/x-1"), experiment, tuple(one.begun for one in results), tuple(results), {})


def shown(document: AbDocument, *, short: bool = False) -> str:
    out = io.StringIO()
    print_ab(document, json_output=False, short=short, out=out)
    return out.getvalue()


def test_what_is_a_third_faster_is_better_and_that_comes_first() -> None:
    document = document_of(stored(plan(blocks=2), 0.66), NOTHING)
    (row,) = document.comparisons
    assert row.word == "better"
    assert row.primary.value is not None
    assert abs(row.primary.value - 0.66) < 0.02
    lines = shown(document).strip().splitlines()
    assert lines[0].startswith("BETTER  B is better than A")
    assert "why: B against A" in shown(document)
    assert len(document.points) == 24


def test_the_same_times_are_equivalent_within_the_margin() -> None:
    document = document_of(stored(plan(blocks=2), 1.0), NOTHING)
    assert document.comparisons[0].word == "equivalent"
    assert "within 5 %" in document.comparisons[0].sentence


def test_too_little_cannot_be_told() -> None:
    made = plan(tasks=2, blocks=1)
    seconds = {("A", "t1"): 10.0, ("B", "t1"): 11.0, ("A", "t2"): 12.0, ("B", "t2"): 9.0}
    results = [done(cell, record(seconds[cell.arm, cell.task])) for cell in cells_of(made)]
    document = document_of(stored(made, 1.0, results=results), NOTHING)
    assert document.comparisons[0].word == "cannot tell"
    assert shown(document).strip().startswith("CANNOT TELL")


def test_an_arm_against_itself_shows_the_floor() -> None:
    text = shown(document_of(stored(plan(blocks=2), 1.0, "aa"), NOTHING))
    assert text.strip().startswith("NOISE  the same arm twice")
    assert "BETTER" not in text


def test_what_was_disturbed_is_marked_with_the_reason_and_a_fault_is_counted() -> None:
    made = plan(blocks=2)
    cells = cells_of(made)
    results = [done(cell, record(10.0 * jitter(cell.order))) for cell in cells]
    results[0] = msgspec.structs.replace(results[0], doubts=(CellDoubt(1, "the anchor's decode fell", 3),))
    results.append(done(cells[1], record(exit_status="infra_fault", verified="not_run")))
    document = document_of(stored(made, 1.0, results=results), NOTHING)
    assert sum(arm.faults for arm in document.arms) == 1
    assert sum(arm.outcomes for arm in document.arms) == 24
    text = shown(document)
    assert "1 of 25 dispatches were disturbed" in text
    assert "the anchor's decode fell" in text
    assert "infra_fault: does not count" in text


def test_an_experiment_that_was_cut_off_says_how_it_goes_on() -> None:
    made = plan(blocks=2)
    results = [done(cell, record()) for cell in cells_of(made)[:5]]
    text = shown(document_of(stored(made, 1.0, results=results), NOTHING))
    assert "[5 of 24 dispatches are done: dyno ab --resume x-1 goes on]" in text


def test_an_agent_that_could_not_run_is_told() -> None:
    made = plan(blocks=1)
    failed = msgspec.structs.replace(record(verified="fail"), error=Failure("AgentFailed", "ended with exit code 127"))
    results = [done(cell, failed if cell.arm == "B" else record()) for cell in cells_of(made)]
    document = document_of(stored(made, 1.0, results=results), NOTHING)
    assert document.notes == ("6 × B: ended with exit code 127",)


def test_each_task_shows_its_own_effect_with_its_pairs() -> None:
    made = plan(3, tasks=2, blocks=2)
    seconds = {("t1", "A"): 10.0, ("t1", "B"): 5.0, ("t1", "C"): 10.0, ("t2", "A"): 8.0, ("t2", "B"): 16.0}
    results = [
        done(
            cell, record(seconds.get((cell.task, cell.arm), 8.0) * (1.21 if cell.block == 2 and cell.arm == "C" else 1))
        )
        for cell in cells_of(made)
    ]
    lost = next(n for n, cell in enumerate(cells_of(made)) if (cell.task, cell.arm, cell.block) == ("t2", "B", 2))
    results[lost] = done(cells_of(made)[lost], record(16.0, verified="fail"))
    document = document_of(stored(made, 1.0, results=results), NOTHING)
    b, c = document.comparisons
    assert [row.task for row in b.tasks] == ["t1", "t2"]
    assert b.tasks[0].pairs == pytest.approx((0.5, 0.5))
    assert b.tasks[1].value == pytest.approx(2.0)
    assert b.tasks[1].pairs[0] == pytest.approx(2.0)
    assert b.tasks[1].pairs[1] is None
    assert (b.tasks[1].won, b.tasks[1].lost, b.tasks[1].treatment_passed) == (0, 2, 1)
    assert [round(row.value or 0, 3) for row in c.tasks] == [1.1, 1.1]
    text = shown(document)
    assert "× 0.50 (0.50, 0.50)" in text
    assert "× 2.00 (2.00); won 0, lost 2 of 2" in text
    assert "× 1.10 (1.00, 1.21)" in text


def test_a_guard_that_is_not_shown_says_what_would_show_it() -> None:
    document = document_of(stored(plan(blocks=2), 0.66), NOTHING)
    (row,) = document.comparisons
    assert (row.guards[0].state, row.guards[0].pairs_needed) == ("not shown", 25)
    assert row.sentence.endswith(
        "Not shown: that success does not get worse by more than 0.1 (12 pairs; needs about 25)."
    )
    assert "guard: success may get worse by 0.1: not shown with 12 pairs, about 25 pairs would" in " ".join(
        shown(document).split()
    )


def test_a_rehearsal_says_once_that_success_is_scripted_and_no_more_of_it() -> None:
    document = document_of(stored(plan(blocks=2, fidelity="rehearse"), 0.66), NOTHING)
    text = shown(document)
    assert (text.count("success is scripted"), text.count("guard")) == (1, 1)
    assert "Not shown" not in text
    assert document.comparisons[0].guards[0].state == "not shown"


def test_a_fall_of_scripted_success_is_told_all_the_same() -> None:
    made = plan(blocks=2, fidelity="rehearse")
    results = [done(cell, record(verified="fail" if cell.arm == "B" else "pass")) for cell in cells_of(made)]
    text = shown(document_of(stored(made, 1.0, results=results), NOTHING))
    assert "guard: success may get worse by 0.1: broken" in text


def test_the_order_is_told_in_words_and_only_where_it_mattered_or_cannot_be_told() -> None:
    document = document_of(stored(plan(blocks=2), 0.66), NOTHING)
    assert "order:" not in shown(document)
    (row,) = document.comparisons
    first, line = row.order

    def with_order(low: float, high: float) -> str:
        found = msgspec.structs.replace(line, value=(low * high) ** 0.5, low=low, high=high)
        changed = msgspec.structs.replace(row, order=(first, found))
        return " ".join(shown(msgspec.structs.replace(document, comparisons=(changed,))).split())

    assert "order: whether a dispatch at the end is slower cannot be told from 12 pairs" in with_order(0.006, 23.6)
    assert "order: a dispatch at the end took × 1.42 [× 1.2 … × 1.67] of one at the beginning" in with_order(1.2, 1.67)


@pytest.mark.parametrize("columns", ["80", "100"])
def test_no_name_and_no_figure_is_cut(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    made = plan(blocks=2)
    tasks = tuple(msgspec.structs.replace(task, name=f"toolbench/chain4-{n}") for n, task in enumerate(made.tasks))
    arms = (made.arms[0], msgspec.structs.replace(made.arms[1], name="cache-hostile"))
    made = msgspec.structs.replace(made, tasks=tasks, arms=arms)
    results = [
        done(cell, record(10.0 * jitter(cell.order), lost_tokens=0 if cell.arm == "A" else 4580 + cell.order))
        for cell in cells_of(made)
    ]
    text = shown(document_of(stored(made, 1.0, results=results), NOTHING))
    assert max(map(len, text.splitlines())) <= int(columns)
    rows = [line.split() for line in text.splitlines()]
    assert sum("toolbench/chain4-3" in row for row in rows) == 1 + 4
    assert sum("cache-hostile" in row and "toolbench/chain4-3" in row for row in rows) == 2
    (lost,) = (line for line in text.splitlines() if line.startswith("lost_tokens"))
    assert "+4,59" in lost
    assert not [word for line in text.splitlines() for word in line.split() if word.endswith("…") and word != "…"]


def test_the_short_form_says_what_was_found_and_where_the_rest_is() -> None:
    document = document_of(stored(plan(blocks=2), 0.66), NOTHING)
    text, whole = shown(document, short=True), shown(document)
    assert text.strip().startswith("BETTER  B is better than A")
    assert "where the time went" in text
    assert "every metric, task and dispatch: dyno report x-1" in text
    assert "every dispatch" not in text
    assert len(text.splitlines()) < len(whole.splitlines()) / 2


def test_one_is_no_plural() -> None:
    made = plan(tasks=1, blocks=1)
    text = shown(document_of(stored(made, 0.5), NOTHING))
    assert "(1 pair, 1 task;" in text
    assert "1 pairs" not in text
    assert "1 tasks" not in text


def test_one_that_runs_was_not_killed() -> None:
    made = plan(blocks=1)
    cells = cells_of(made)
    results = [done(cell, record()) for cell in cells[:3]]
    begun = (*(one.begun for one in results), done(cells[3], record()).begun)
    cut = msgspec.structs.replace(stored(made, 1.0, results=results), begun=begun)
    assert document_of(cut, NOTHING).notes == ("1 × dispatch that was killed before its end, and is done again",)
    running = document_of(msgspec.structs.replace(cut, working=True), NOTHING)
    assert running.notes == ("a process is at work on it just now: this is not all of it",)
    between = msgspec.structs.replace(cut, begun=begun[:3], working=True)
    assert document_of(between, NOTHING).notes == running.notes


def test_lost_are_the_tokens_that_causes_are_charged_with() -> None:
    row = CacheRow(9, 0, 0, 9, 0, 0, 300_000, 250_000, 204_472, {"P1": 150_000, "P6": 45_976})
    assert cache_cells(row)[-2:] == ["195,976", "P1 150,000, P6 45,976"]
    assert cache_cells(msgspec.structs.replace(row, lost_by_cause_tokens={}))[-2:] == ["204,472", "not told"]
    assert cache_cells(msgspec.structs.replace(row, lost_by_cause_tokens={}, lost_tokens=0))[-2:] == ["0", "none"]


def test_nothing_at_all_can_be_shown_too() -> None:
    document = document_of(stored(plan(), 1.0, results=[]), NOTHING)
    assert document.comparisons[0].word == "cannot tell"
    assert shown(document)


def test_the_document_is_what_its_schema_says() -> None:
    out = io.StringIO()
    print_ab(document_of(stored(plan(3, blocks=2), 0.7, results=three_arms()), NOTHING), json_output=True, out=out)
    jsonschema.validate(json.loads(out.getvalue()), json.loads((DOCS / "ab.schema.json").read_text()))


def three_arms() -> list[Done]:
    seconds = {"A": 10.0, "B": 7.0, "C": 13.0}
    return [done(cell, record(seconds[cell.arm] * jitter(cell.order))) for cell in cells_of(plan(3, blocks=2))]


def test_the_schema_file_is_current() -> None:
    check_schema_file("ab", AbDocument)
