"""Questions to stored runs: what is answered, what is refused, and what a damaged or hostile folder does to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.history.database import History, views_in
from harness.history.errors import QueryError
from harness.history.kept import keep
from harness.history.tables import VIEWS
from profiler.run_files import StoreError
from tests.harness.history.stored_runs import session_requests, write_dispatches, write_run

SUMS = "SELECT run, count(*), sum(cached_tokens), sum(lost_tokens) FROM requests GROUP BY run ORDER BY run"


def ask(root: Path, sql: str) -> list[tuple[object, ...]]:
    with History(root) as history:
        return history.ask(sql).rows


def test_parquet_and_json_lines_answer_the_same(tmp_path: Path) -> None:
    write_run(tmp_path, "run-a")
    write_dispatches(tmp_path, "run-b", ["debug/todo-1", "debug/todo-2"])
    questions = [f"FROM {view} ORDER BY ALL" for view in VIEWS]
    answers: list[list[list[tuple[object, ...]]]] = []
    for unkept in (2, 1, 0):
        with History(tmp_path) as history:
            assert history.unkept == unkept
            answers.append([history.ask(sql).rows for sql in questions])
        keep(tmp_path / ("run-a" if unkept == 2 else "run-b"))
    assert sum(map(len, answers[0])) > 15
    assert answers[0] == answers[1] == answers[2]


def test_a_torn_last_line_costs_one_record_and_is_noted(tmp_path: Path) -> None:
    file = write_run(tmp_path, "run-a") / "requests.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert ask(tmp_path, "SELECT requests, len(notes) FROM runs") == [(2, 1)]
    assert ask(tmp_path, "SELECT count(*) FROM requests") == [(2,)]


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_answered(tmp_path: Path) -> None:
    write_run(tmp_path, "run-a")
    file = write_run(tmp_path, "run-b") / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 99}))
    (tmp_path / "no-run").mkdir()
    (tmp_path / "a-file").write_text("")
    with History(tmp_path) as history:
        assert [row[0] for row in history.ask("SELECT run FROM runs").rows] == ["run-a"]
        assert len(history.notes) == 1
        assert "schema 99" in history.notes[0]


def test_a_killed_run_and_one_of_an_old_schema_are_there(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "run-a", status=None)
    for name in ("requests.jsonl", "run.json"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace('"schema":2', '"schema":1'))
    (folder / "residency.jsonl").unlink()
    assert ask(tmp_path, "SELECT run, status, requests, peak_memory_bytes FROM runs") == [("run-a", None, 3, None)]


NAMES = ("it's", "a*b", "a?b", "[a]", "{a,b}", "a=b", "semi;colon", 'quo"te', "ünï çode", "-- x", "new\nline", "100%")


def test_a_folder_of_any_name_is_a_run_like_another(tmp_path: Path) -> None:
    write_run(tmp_path, "other")
    for name in NAMES:
        write_run(tmp_path, "plain").rename(tmp_path / name)
    expected = sorted((name, 3, 160, 110) for name in (*NAMES, "other"))
    assert ask(tmp_path, SUMS) == expected
    for name in NAMES:
        keep(tmp_path / name)
    with History(tmp_path) as history:
        assert history.ask(SUMS).rows == expected
        # Those that DuckDB would take for a pattern, and what is no plain text, are read from their lines.
        assert history.unkept == 1 + sum(bool(set("*?[{\n") & set(name)) for name in NAMES)


def test_a_name_that_is_no_unicode_is_shown_with_a_mark(tmp_path: Path) -> None:
    write_run(tmp_path, "plain").rename(tmp_path / "bad-\udcff")
    assert ask(tmp_path, "SELECT run FROM runs") == [("bad-�",)]


def test_loads_of_an_experiment_are_runs_with_its_name(tmp_path: Path) -> None:
    plan = tmp_path / "20261120-100000-abcd"
    plan.mkdir()
    (plan / "experiment.json").write_text(json.dumps({"plan": {"cache": "cold"}}))
    write_dispatches(plan, "001", ["debug/todo-1"])
    rows = ask(tmp_path, "SELECT run, experiment, facts->>'cache' FROM runs")
    assert rows == [("20261120-100000-abcd/001", "20261120-100000-abcd", "cold")]
    keep(plan / "001")
    assert ask(tmp_path, "SELECT run, experiment, facts->>'cache' FROM runs") == rows


@pytest.mark.parametrize(
    ("sql", "said", "hint"),
    [
        ("selec 1", "syntax error", "views: runs, requests"),
        ("SELECT nosuch FROM requests", '"nosuch" not found', "requests has run, request_id"),
        ("SELECT 1 FROM runz", "runz does not exist", "views: runs, requests"),
        ("SELECT 1; SELECT 2", "one SELECT is answered, these are 2", "only read"),
        ("", "one SELECT is answered, these are 0", "only read"),
        ("DROP VIEW runs", "this is DROP", "only read"),
        ("CREATE TABLE x (a INT)", "this is CREATE", "only read"),
        ("SET enable_external_access = true", "this is SET", "only read"),
        ("ATTACH 'x.db'", "this is ATTACH", "only read"),
        ("COPY runs TO 'x.csv'", "this is COPY", "only read"),
        ("EXPLAIN ANALYZE COPY runs TO 'x.csv'", "this is EXPLAIN", "only read"),
        ("SELECT * FROM read_text('pyproject.toml')", "disabled by configuration", "views"),
        ("SELECT * FROM 'pyproject.toml'", "does not exist", "views"),
        ("SELECT * FROM glob('*')", "disabled by configuration", "views"),
        ("SELECT sum(session) FROM requests", "No function matches", "requests has run"),
    ],
)
def test_what_is_no_question_is_refused_with_what_there_is(sql: str, said: str, hint: str, tmp_path: Path) -> None:
    write_run(tmp_path, "run-a")
    with History(tmp_path) as history, pytest.raises(QueryError) as raised:
        history.ask(sql)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert hint in (raised.value.hint or "")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run-a"]


def test_no_write_reaches_a_file_even_from_within_a_select(tmp_path: Path) -> None:
    keep(write_run(tmp_path, "run-a"))
    file = tmp_path / "run-a" / "tables" / "requests.parquet"
    before = file.read_bytes()
    for sql in (f"FROM query('COPY runs TO ''{file}''')", f"WITH x AS (COPY runs TO '{file}') FROM x"):
        with History(tmp_path) as history, pytest.raises(QueryError):
            history.ask(sql)
    assert file.read_bytes() == before


def test_only_what_is_named_is_filled(tmp_path: Path) -> None:
    write_run(tmp_path, "run-a")
    assert views_in("SELECT * FROM verdicts") == ("verdicts",)
    assert views_in("SELECT * FROM query_table('ru' || 'ns')") == tuple(VIEWS)
    with History(tmp_path, views=("runs",)) as history:
        assert history.ask("SELECT requests FROM runs").rows == [(3,)]
        assert history.ask("SELECT count(*) FROM residency").rows == [(0,)]


def test_no_runs_are_an_empty_answer_and_an_unreadable_folder_an_error(tmp_path: Path) -> None:
    assert ask(tmp_path / "runs", "SELECT count(*) FROM runs") == [(0,)]
    assert ask(tmp_path, SUMS) == []
    run = write_run(tmp_path, "run-a", session_requests(cached=None))
    assert ask(tmp_path, SUMS) == [("run-a", 3, 0, 90)]
    with History(tmp_path, only=[run], lock=False) as history, pytest.raises(StoreError, match="cannot write"):
        history.write_parquet("runs", tmp_path / "no" / "such" / "runs.parquet")
