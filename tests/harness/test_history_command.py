"""`dyno sql`, `history`, `compare` and `export` as a user runs them: output, documents, wrong inputs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest
import typer

from harness.cli import app
from harness.experiment.plan import PlanError
from harness.history.errors import QueryError
from harness.history.stored import KEPT
from profiler.run_files import StoreError
from profiler.run_names import UnknownRun
from tests.harness.history.stored_runs import FACTS, write_dispatches, write_run
from tests.schema_file import DOCS

TASKS = [f"debug/todo-{number}" for number in range(1, 8)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    runs = tmp_path / "runs"
    write_run(runs, "20261120-100000-aaaa")
    write_dispatches(runs, "20261121-100000-bbbb", TASKS, day=1)
    write_dispatches(runs, "20261122-100000-cccc", TASKS, wall_ms=1500, day=2)
    return tmp_path


def dyno(capsys: Any, *words: str) -> str:
    app(list(words), standalone_mode=False)
    return str(capsys.readouterr().out)


def document(text: str, schema: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    jsonschema.validate(value, json.loads((DOCS / f"{schema}.schema.json").read_text()))
    return value


def test_sql_prints_a_table_json_or_csv(place: Path, capsys: Any) -> None:
    question = "SELECT run, requests, gpus, ended_at < now() AS past FROM runs ORDER BY run"
    table = dyno(capsys, "sql", question)
    assert "20261121-100000-bbbb" in table
    assert "3 rows" in table
    value = document(dyno(capsys, "sql", question, "--json"), "sql")
    assert value["columns"][1] == {"name": "requests", "type": "BIGINT"}
    assert [row[1] for row in value["rows"]] == [3, 7, 7]
    lines = list(csv.reader(io.StringIO(dyno(capsys, "sql", question, "--csv"))))
    assert lines[0] == ["run", "requests", "gpus", "past"]
    assert lines[1][:3] == ["20261120-100000-aaaa", "3", ""]
    listed = dyno(capsys, "sql")
    assert "verdicts  a row for each request: what the cache did for it" in listed


def test_history_shows_runs_and_their_trend(place: Path, capsys: Any) -> None:
    shown = dyno(capsys, "history", "--metric", "time_to_success_s")
    assert "20261122-100000-cccc" in shown
    assert "×1.5 of 1" in shown
    value = document(dyno(capsys, "history", "--json", "--last", "2"), "history")
    assert (len(value["runs"]), value["runs_in_all"], value["unkept"]) == (2, 3, 3)
    assert "no run is like that" in dyno(capsys, "history", "--model", "nothing")


def test_indexing_keeps_the_tables_of_all_runs_once(place: Path, capsys: Any) -> None:
    app(["history", "--index", "--json"], standalone_mode=False)
    said = capsys.readouterr()
    assert "3 runs indexed, 0 were already" in said.err
    assert json.loads(said.out)["unkept"] == 0
    assert len(list((place / "runs").glob(f"*/{KEPT}/index.json"))) == 3


def test_a_large_run_is_kept_when_it_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    app(["cache", "scripted:", "-s", "append-only-long", "--repeat", "2", "--json"], standalone_mode=False)
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / KEPT / "index.json").is_file()
    capsys.readouterr()
    value = document(dyno(capsys, "sql", "SELECT count(*) FROM requests", "--json"), "sql")
    assert value["rows"] == [[json.loads(dyno(capsys, "history", "--json"))["runs"][0]["requests"]]]


def test_compare_prints_effects_or_the_document_or_benchstat(place: Path, capsys: Any) -> None:
    shown = dyno(capsys, "compare", "20261121", "20261122-100000-cccc")
    assert "paired by task: debug/todo-1" in shown
    assert "× 1.5 [1.5 … 1.5]" in shown
    value = document(dyno(capsys, "compare", "20261121", "latest", "--json"), "compare")
    assert (value["unit"], len(value["both"]), value["a"]["runs"]) == ("task", 7, ["20261121-100000-bbbb"])
    assert "arm: B" in dyno(capsys, "compare", "20261121", "20261122*", "--benchstat")
    by_sides = dyno(capsys, "compare", "--a", "20261121", "--b", "runs/20261122-100000-cccc", "--json")
    assert json.loads(by_sides) == value


def test_what_was_allowed_to_differ_is_said_first(place: Path, capsys: Any) -> None:
    facts = {**{name: getattr(FACTS, name) for name in FACTS.__struct_fields__}, "build": "b2"}
    write_run(place / "runs", "20261123-100000-dddd", day=3, facts=type(FACTS)(**facts))
    shown = dyno(capsys, "compare", "20261120", "20261123", "--although", "build")
    assert "ALTHOUGH build differs: b1 in A, b2 in B" in shown


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["sql", "DROP TABLE runs"], QueryError, "this is DROP"),
        (["sql", "SELECT 1", "--json", "--csv"], typer.BadParameter, "exclude each other"),
        (["history", "--metric", "speed"], QueryError, "no metric 'speed'"),
        (["compare", "20261120"], typer.BadParameter, "name two runs"),
        (["compare", "--a", "20261120"], typer.BadParameter, "name two runs"),
        (["compare", "20261120", "2027"], UnknownRun, "no run '2027'"),
        (["compare", "20261120", "2027*"], UnknownRun, r"no run in runs is like '2027\*'"),
        (["compare", "20261120", "20261121"], PlanError, "fidelity is 'rehearse' and 'dispatch'"),
        (["export", "csv", "out", "2027"], UnknownRun, "no run '2027'"),
        (["export", "csv", "runs/20261120-100000-aaaa/run.json"], StoreError, "cannot write"),
        (["export", "otel", "out", "--runs", "nowhere"], StoreError, "no run in nowhere"),
        (["export", "parquet", "out", "--runs", "nowhere"], StoreError, "no runs in nowhere"),
    ],
)
def test_a_wrong_input_is_one_clear_line(place: Path, words: list[str], error: Any, said: str, capsys: Any) -> None:
    with pytest.raises(error, match=said) as raised:
        app(words, standalone_mode=False)
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().out == ""


def test_tables_are_exported_as_csv_json_and_parquet_alike(place: Path, capsys: Any) -> None:
    for form in ("csv", "json", "parquet"):
        dyno(capsys, "export", form, form)
    names = {file.stem for file in (place / "csv").iterdir()}
    assert names == {file.stem for file in (place / "json").iterdir()}
    assert names >= {"runs", "requests", "verdicts", "dispatches", "turns", "calls", "losses", "residency"}
    held = json.loads((place / "json" / "requests.json").read_text())
    with (place / "csv" / "requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"SELECT run, prompt_tokens FROM '{place}/parquet/requests.parquet'")
        parquet = connection.fetchall()
    assert len(held) == len(rows) == len(parquet) == 17
    assert {(row["run"], int(row["prompt_tokens"])) for row in rows} == set(parquet)


def test_spans_are_a_file_for_each_run(place: Path, capsys: Any) -> None:
    dyno(capsys, "export", "otel", "spans", "20261121", "20261122")
    files = sorted(file.name for file in (place / "spans").iterdir())
    assert files == ["20261121-100000-bbbb.json", "20261122-100000-cccc.json"]
    (line,) = (place / "spans" / files[0]).read_text().splitlines()
    assert len(json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]) == 21
