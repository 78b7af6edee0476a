"""The tables say what the rows hold, and docs/history.md says what the tables are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.history.run_rows import ROWS, run_row
from harness.history.stored import read_work
from harness.history.tables import TABLES, VIEWS, columns_of
from tests.harness.history.stored_runs import write_dispatches
from tests.schema_file import DOCS, REGENERATE

START, END = "<!-- views -->\n", "<!-- /views -->\n"


@pytest.mark.parametrize("table", TABLES)
def test_rows_have_exactly_the_columns_of_their_table(table: str, tmp_path: Path) -> None:
    work = read_work(write_dispatches(tmp_path, "run-a", ["debug/todo-1"]))
    rows = [run_row("run-a", work)] if table == "runs" else list(ROWS[table]("run-a", work))
    assert rows
    assert {frozenset(row) for row in rows} == {frozenset(column.name for column in TABLES[table].columns)}


def test_views_name_columns_once_and_verdicts_are_those_of_requests() -> None:
    for view in VIEWS.values():
        assert len(set(view.columns)) == len(view.columns) == len(columns_of(view))
    shared = {"run", "request_id", "cache_class", "prompt_tokens", "cached_tokens", "lost_tokens", "lost_ns"}
    assert shared <= set(VIEWS["requests"].columns) & set(VIEWS["verdicts"].columns)
    every = {column.name for column in TABLES["requests"].columns}
    assert set(VIEWS["requests"].columns) | set(VIEWS["verdicts"].columns) == every


def test_a_unit_is_in_the_name_of_every_figure() -> None:
    counts = {
        "requests", "errors", "dispatches", "verified", "passed", "turns", "calls", "faults", "slots", "slot", "turn",
        "repeat", "seed", "block", "request_id", "exit_code", "processes", "cores_logical", "lines_added",
        "lines_removed", "content_chars", "reasoning_chars", "score", "cached_share", "foreign_cpu", "steal",
        "major_faults",
    }  # fmt: skip
    for table in TABLES.values():
        for column in table.columns:
            if column.type in ("BIGINT", "DOUBLE") and column.name not in counts:
                assert re.search(r"_(ns|s|tokens|bytes|per_s|w)$", column.name), f"{table.name}.{column.name}"


def test_the_documented_columns_are_those_that_there_are() -> None:
    lines: list[str] = []
    for view in VIEWS.values():
        lines += [
            f"### `{view.name}`",
            "",
            f"A row for each {view.of}.",
            "",
            "| column | type | what |",
            "| --- | --- | --- |",
        ]
        lines += [f"| `{name}` | {kind} | {says} |" for name, kind, says in columns_of(view)]
        lines.append("")
    text, file = "\n".join(lines) + "\n", DOCS / "history.md"
    before, _, rest = file.read_text().partition(START)
    if REGENERATE:
        file.write_text(before + START + "\n" + text + END + rest.partition(END)[2])
        pytest.fail("docs/history.md was written anew: look at the difference and run again")
    assert rest.partition(END)[0] == "\n" + text, "run with DYNO_REGENERATE=1"
