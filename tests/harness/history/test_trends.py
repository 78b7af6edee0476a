"""Each run against the earlier ones that it can be compared with, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.experiment.plan import PlanError
from harness.history.database import History
from harness.history.errors import QueryError
from harness.history.trends import FIGURES, QUESTION, history_of
from profiler.history_document import FigureRow, HistoryDocument, SqlDocument
from tests.harness.history.stored_runs import FACTS, session_requests, write_dispatches, write_run
from tests.schema_file import check_schema_file


def test_the_schema_files_are_current() -> None:
    check_schema_file("history", HistoryDocument)


def test_the_schema_file_of_answers_is_current() -> None:
    check_schema_file("sql", SqlDocument)


def shown(root: Path, **asked: Any) -> HistoryDocument:
    with History(root, views=("runs",)) as history:
        return history_of(history.ask(QUESTION).rows, **asked)


def share(document: HistoryDocument, run: str) -> FigureRow:
    row = next(row for row in document.runs if row.run == run)
    return next(figure for figure in row.figures if figure.metric == "cached_share")


def test_a_figure_stands_beside_the_median_of_earlier_comparable_runs(tmp_path: Path) -> None:
    for day, cached in enumerate((60, 80, 70)):
        write_run(tmp_path, f"run-{day}", session_requests(cached=cached), day=day)
    write_run(tmp_path, "run-3", session_requests(cached=90), day=3)
    document = shown(tmp_path, metrics=FIGURES)
    assert [row.run for row in document.runs] == [f"run-{day}" for day in range(4)]
    assert share(document, "run-0") == FigureRow("cached_share", 0.4, 0, None, None, None, None, None)
    last = share(document, "run-3")
    assert (last.value, last.n, last.beyond) == (0.6, 3, True)
    assert (last.median, last.low, last.high) == pytest.approx((140 / 300, 0.4, 160 / 300))
    assert last.ratio == pytest.approx(180 / 140)
    assert share(document, "run-2").beyond is False


@pytest.mark.parametrize(
    "other",
    [
        {"facts": msgspec.structs.replace(FACTS, build="b2")},
        {"settings": {"repeat": 1, "cold": True, "sessions": {"one": {"sha256": "2" * 64}}}},
        {"requests": session_requests(count=4)},
        {"status": "interrupted"},
        {"status": None},
    ],
)
def test_what_cannot_be_compared_is_no_measure(other: dict[str, Any], tmp_path: Path) -> None:
    write_run(tmp_path, "run-0", **other)
    write_run(tmp_path, "run-1", day=1)
    write_run(tmp_path, "run-2", day=2)
    document = shown(tmp_path)
    assert [share(document, f"run-{day}").n for day in range(3)] == [0, 0, 1]


def test_a_fact_may_differ_if_it_is_said(tmp_path: Path) -> None:
    write_run(tmp_path, "run-0")
    write_run(tmp_path, "run-1", day=1, facts=msgspec.structs.replace(FACTS, build="b2"))
    document = shown(tmp_path, although=("build",))
    assert (share(document, "run-1").n, document.although) == (1, ("build",))
    with pytest.raises(PlanError, match="no such fact") as raised:
        shown(tmp_path, although=("wether",))
    assert "version of llmdyno" in (raised.value.hint or "")


def test_runs_are_chosen_by_model_and_target_but_measured_by_all(tmp_path: Path) -> None:
    write_run(tmp_path, "run-0")
    write_run(tmp_path, "run-1", day=1, facts=msgspec.structs.replace(FACTS, model=None))
    write_run(tmp_path, "run-2", day=2)
    assert [row.run for row in shown(tmp_path, model="TINY").runs] == ["run-0", "run-2"]
    assert [row.run for row in shown(tmp_path, model="tiny*").runs] == ["run-0", "run-2"]
    assert shown(tmp_path, target="vllm").runs == ()
    last = shown(tmp_path, last=1)
    assert ([row.run for row in last.runs], last.runs_in_all, share(last, "run-2").n) == (["run-2"], 3, 1)


def test_dispatches_have_their_figures_and_an_unknown_metric_is_named(tmp_path: Path) -> None:
    write_dispatches(tmp_path, "run-0", ["debug/todo-1", "debug/todo-2"], wall_ms=1500)
    (row,) = shown(tmp_path, metrics=("passed_share", "time_to_success_s", "peak_memory_bytes")).runs
    assert [figure.value for figure in row.figures] == [1.0, 1.5, 1000]
    with pytest.raises(QueryError, match="no metric 'speed'"):
        shown(tmp_path, metrics=("speed",))
