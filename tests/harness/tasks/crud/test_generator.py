"""Instances of the pack: what differs between them, what single faults cost, and the search without an index."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.tasks.base import Task, TaskError
from harness.tasks.crud.api import Api, api_of
from harness.tasks.crud.generator import build
from harness.tasks.registry import materialise
from harness.tasks.verify import verify
from profiler.dispatch_records import Outcome
from tests.harness.tasks.bare_sandbox import BareSandbox

CHECKS = (
    "create", "read", "update", "delete", "paging", "search_ranking", "prefix_search", "unicode", "persistence",
    "validation", "concurrency",
)  # fmt: skip


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return materialise("crud/service-1", 5, tmp_path_factory.mktemp("crud") / "task")


def outcome(task: Task, place: Path, code: str) -> Outcome:
    shutil.copytree(task.folder / "workspace", place)
    (place / "app.py").write_text(code, encoding="utf-8")
    return verify(task, place, BareSandbox())


def passed(found: Outcome) -> set[str]:
    assert found.valid, found.notes
    return {name for name in CHECKS if found.parts[f"check_{name}"]}


def solution(task: Task) -> str:
    return (task.folder / "solution" / "files" / "app.py").read_text(encoding="utf-8")


def changed(code: str, old: str, new: str) -> str:
    assert code.count(old) == 1
    return code.replace(old, new)


def test_every_rule_differs_between_instances() -> None:
    apis = [api_of(number, 0) for number in range(1, 9)]
    for field in Api.__struct_fields__:
        assert len({str(getattr(api, field)) for api in apis}) > 1, field


def test_what_is_asked_names_all_that_is_checked(task: Task) -> None:
    text = (task.folder / "instruction.md").read_text(encoding="utf-8")
    api = api_of(1, 5)
    for word in (*api.fields, *api.list_keys, api.path, api.search_url, api.error_key, api.update_method):
        assert word in text
    for status in (api.create_status, api.delete_status, api.invalid_status):
        assert str(status) in text


def test_single_faults_cost_their_checks(task: Task, tmp_path: Path) -> None:
    code = changed(solution(task), "bm25(found, 10.0, 1.0)", "bm25(found, 1.0, 10.0)")
    code = changed(code, '/ "data.sqlite", check', '/ f"{os.getpid()}.sqlite", check')
    code = changed(code, 'raise invalid(f"unknown field {name}")', "continue")
    assert passed(outcome(task, tmp_path / "work", code)) == {*CHECKS} - {"search_ranking", "persistence", "validation"}


@pytest.mark.slow
def test_the_search_without_an_index_keeps_the_rules(task: Task, tmp_path: Path) -> None:
    code = changed(solution(task), "FTS5 = bool(DATA", "FTS5 = False and bool(DATA")
    assert passed(outcome(task, tmp_path / "work", code)) == {*CHECKS}


def test_a_service_that_does_not_start_is_worth_nothing(task: Task, tmp_path: Path) -> None:
    found = outcome(task, tmp_path / "work", "raise SystemExit('no port')\n")
    assert (found.valid, found.score) == (True, 0)
    assert "app.py does not listen on PORT" in found.notes


@pytest.mark.parametrize("name", ["service", "service-0", "service-x", "notes-1"])
def test_an_unknown_instance_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no instance"):
        build(name, 0, tmp_path)
