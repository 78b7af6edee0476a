"""Instances of the pack: what they hold, what special casing is worth, and what a child that misbehaves costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from harness.tasks.base import Task, TaskError
from harness.tasks.registry import materialise
from harness.tasks.speclisp.cases import TABLES, cases
from harness.tasks.speclisp.dialect import dialect_of
from harness.tasks.speclisp.generator import build
from harness.tasks.verify import verify
from profiler.dispatch_records import Outcome
from tests.harness.tasks.bare_sandbox import BareSandbox


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return materialise("speclisp/dialect-2", 5, tmp_path_factory.mktemp("lisp") / "task")


def outcome(task: Task, place: Path, code: str) -> Outcome:
    (place / "lisp.py").write_text(code, encoding="utf-8")
    return verify(task, place, BareSandbox())


def solution(task: Task) -> str:
    return (task.folder / "solution" / "files" / "lisp.py").read_text(encoding="utf-8")


def test_there_are_58_behaviours_each_with_a_hidden_case(task: Task) -> None:
    rows = json.loads((task.folder / "hidden" / "cases.json").read_text(encoding="utf-8"))
    assert len({row["name"] for row in rows}) == len(rows) == 58
    shown = {row["visible"]["source"] for row in rows}
    assert shown.isdisjoint(row["hidden"]["source"] for row in rows)


@pytest.mark.parametrize("number", range(1, 9))
def test_the_interpreter_agrees_with_expectations_that_were_worked_out_without_it(number: int, tmp_path: Path) -> None:
    build(f"dialect-{number}", 11, tmp_path)
    scope: dict[str, object] = {"__name__": "lisp"}
    limit = sys.getrecursionlimit()
    exec(compile((tmp_path / "solution/files/lisp.py").read_text(encoding="utf-8"), "lisp.py", "exec"), scope)
    run, error = scope["run"], scope["LispError"]
    assert callable(run)
    assert isinstance(error, type)
    assert issubclass(error, Exception)
    tables = cases(dialect_of(number, 11), Random(f"another:{number}"))
    try:
        for case in (case for table in TABLES for case in tables[table]):
            try:
                found = {"prints": run(case.source)}
            except error as caught:
                found = {"error": vars(caught)["kind"]}
            assert found == case.expected, case
    finally:
        sys.setrecursionlimit(limit)


def test_the_visible_suite_runs_and_passes_on_the_solution(task: Task, tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    workspace.mkdir()
    (workspace / "tests").symlink_to(task.folder / "workspace" / "tests")
    (workspace / "lisp.py").write_text(solution(task), encoding="utf-8")
    command = (task.harness.tests.suite or "").replace("python ", f"{sys.executable} ", 1)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command.split(), cwd=workspace, env=environment, check=False, capture_output=True, text=True)
    assert "58 passed" in done.stdout, done.stdout


def test_a_rule_that_is_wrong_costs_its_behaviours(task: Task, tmp_path: Path) -> None:
    wrong = solution(task).replace("UNARY_MINUS = True", "UNARY_MINUS = None")
    wrong = wrong if wrong != solution(task) else wrong.replace("UNARY_MINUS = False", "UNARY_MINUS = True")
    found = outcome(task, tmp_path, wrong)
    assert found.parts["behaviours"] == 57
    assert found.parts["special_casing"] is False
    assert any("minus-of-one" in note for note in found.notes)


def test_special_casing_is_named_and_earns_nothing(task: Task, tmp_path: Path) -> None:
    shown = json.loads((task.folder / "hidden" / "cases.json").read_text(encoding="utf-8"))
    table = {row["visible"]["source"]: row["visible"]["expected"].get("prints") for row in shown}
    found = outcome(task, tmp_path, f"class LispError(Exception): kind = ''\nrun = {table!r}.__getitem__\n")
    assert found.score == 0
    assert found.parts["special_casing"] is True


def test_code_that_prints_exits_or_dies_costs_only_its_case(task: Task, tmp_path: Path) -> None:
    rows = json.loads((task.folder / "hidden" / "cases.json").read_text(encoding="utf-8"))
    first, second = rows[3]["visible"]["source"], rows[30]["hidden"]["source"]
    code = solution(task) + (
        "\nimport os\n_right = run\n\ndef run(source):\n    print('noise')\n"
        f"    if source == {first!r}:\n        raise SystemExit(0)\n"
        f"    if source == {second!r}:\n        os._exit(0)\n    return _right(source)\n"
    )
    assert outcome(task, tmp_path, code).parts["behaviours"] == 56


def test_code_that_ends_its_process_everywhere_is_given_up_in_time(task: Task, tmp_path: Path) -> None:
    code = "import os\n\nclass LispError(Exception): ...\n\ndef run(source):\n    os._exit(3)\n"
    found = outcome(task, tmp_path, code)
    assert (found.valid, found.score) == (True, 0)
    assert "hung or ended the process" in found.notes[0]
    assert any("too many hung" in note for note in found.notes)


@pytest.mark.slow
def test_code_that_hangs_costs_its_case_whether_or_not_it_can_be_interrupted(task: Task, tmp_path: Path) -> None:
    rows = json.loads((task.folder / "hidden" / "cases.json").read_text(encoding="utf-8"))
    first, second = rows[3]["visible"]["source"], rows[30]["hidden"]["source"]
    code = solution(task) + (
        "\n_right = run\n\ndef run(source):\n"
        f"    while source == {first!r}:\n        pass\n"
        f"    while source == {second!r}:\n        try:\n            while True:\n                len(source)\n"
        "        except BaseException: pass\n"
        "    return _right(source)\n"
    )
    found = outcome(task, tmp_path, code)
    assert found.parts["behaviours"] == 56
    assert any("took too long" in note for note in found.notes), found.notes
    assert any("hung or ended the process" in note for note in found.notes)


def test_code_that_cannot_be_loaded_is_worth_nothing(task: Task, tmp_path: Path) -> None:
    found = outcome(task, tmp_path, "raise RuntimeError('no')\n")
    assert (found.valid, found.score) == (True, 0)
    assert "RuntimeError: no" in found.notes[0]


@pytest.mark.parametrize("name", ["dialect", "dialect-0", "dialect-x", "lisp-1"])
def test_an_unknown_instance_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no instance"):
        build(name, 0, tmp_path)
