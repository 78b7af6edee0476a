"""Folders with a plan: which one a name means, and what is said of one that cannot be read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.experiment.plan import PlanError
from harness.plan_folder import PlanFolder, loads_of, next_load
from profiler.run_files import StoreError

FOLDER = PlanFolder("plan.json", "comparison", "dyno quant")


class Planned(msgspec.Struct, frozen=True):
    """A plan of tests."""

    name: str
    schema: int = 1


def begun(root: Path, *names: str) -> Path:
    for name in names:
        FOLDER.create(root / name, msgspec.json.encode(Planned(name)))
    return root


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    assert FOLDER.read(begun(tmp_path, "a-1") / "a-1", Planned) == Planned("a-1")
    with pytest.raises(StoreError, match="cannot create the comparison"):
        begun(tmp_path, "a-1")


@pytest.mark.parametrize(("name", "meant"), [("a-1", "a-1"), ("a-12", "a-12"), ("b", "b-1"), ("latest", "b-1")])
def test_a_name_means_one(tmp_path: Path, name: str, meant: str) -> None:
    assert FOLDER.find(begun(tmp_path, "a-1", "a-12", "b-1"), name).name == meant


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("a", "2 comparisons begin with 'a'", "most recent: a-1, a-12"),
        ("c", "no comparison 'c'", "most recent: a-1, a-12, b-1"),
        ("", "no comparison ''", "most recent"),
    ],
)
def test_a_name_that_means_none_or_several_is_refused(tmp_path: Path, name: str, said: str, hint: str) -> None:
    with pytest.raises(PlanError, match=said) as raised:
        FOLDER.find(begun(tmp_path, "a-1", "a-12", "b-1"), name)
    assert hint in (raised.value.hint or "")


def test_where_there_is_none_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as raised:
        FOLDER.find(tmp_path, "latest")
    assert raised.value.hint == "dyno quant makes one"


@pytest.mark.parametrize(
    ("plan", "said"), [(b"{", "cannot read"), (b'{"schema": 99}', "schema 99"), (b'{"schema": 1}', "`name`")]
)
def test_a_plan_that_cannot_be_read_is_told(tmp_path: Path, plan: bytes, said: str) -> None:
    (tmp_path / "plan.json").write_bytes(plan)
    with pytest.raises(StoreError, match=said):
        FOLDER.read(tmp_path, Planned)


def test_a_folder_without_a_plan_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no comparison in"):
        FOLDER.read(tmp_path, Planned)


def test_loads_are_numbered_on(tmp_path: Path) -> None:
    assert next_load(tmp_path) == "001"
    for name in ("007", "notes", "002"):
        (tmp_path / name).mkdir()
    assert [load.name for load in loads_of(tmp_path)] == ["002", "007"]
    assert next_load(tmp_path) == "008"


def test_a_folder_that_is_none_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"is no comparison: it holds no plan\.json"):
        FOLDER.find(begun(tmp_path / "runs", "a-1"), str(tmp_path))
