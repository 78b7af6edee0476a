from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.tasks.base import Call, Harness, Step, TaskError, Tests
from harness.tasks.draft import call, steps_json
from harness.tasks.folder import folder_sha256, matches, read_folder
from harness.tasks.registry import find_task, instruction, list_packs, materialise, read_task, trajectory
from tests.harness.tasks.task_folders import write_files, write_task


def own(folder: Path, toml: str = "") -> Path:
    return write_files(folder, {"task.toml": toml, "instruction.md": "Do it.", "tests/test.sh": "true\n"})


def test_what_a_folder_without_a_harness_table_has(tmp_path: Path) -> None:
    task = read_task(own(tmp_path / "mine"))
    assert (task.name, task.pack, task.title, task.harness) == ("mine", "", "mine", Harness())


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    held = Harness(
        scopes=("bounded", "open"),
        protected=("tests/**", 'odd "name"\\.py'),
        tests=Tests(suite="python -m pytest -q", names="file::test —"),
        requires_changes=False,
    )
    write_task(tmp_path, held)
    task = read_task(tmp_path)
    assert (task.name, task.pack, task.seed, task.title) == ("sums/one", "sums", 9, "a “title”")
    assert (task.harness, task.verifier_timeout_s, task.difficulty) == (held, 5.0, "easy")


@pytest.mark.parametrize(
    ("toml", "said", "hint"),
    [
        ("[harness]\nprotcted = []", "'protcted' in [harness]", "protected"),
        ("[harness.tests]\nfiles = 'x'", "'files' in [harness.tests]", "file"),
        ("[harness.baseline]\nnop = 0.0\nx = 1", "'x' in [harness.baseline]", "nop"),
        ("[harnes]\nscopes = []", "[harnes]", "[harness]"),
        ("[harness]\nscopes = ['wide']", "wide", "docs/tasks.md"),
        ("harness = 3", "harness", "docs/tasks.md"),
        ("[harness", "task.toml: Expected ']'", "docs/tasks.md"),
    ],
)
def test_what_is_wrong_in_a_task_is_named(tmp_path: Path, toml: str, said: str, hint: str) -> None:
    with pytest.raises(TaskError) as caught:
        read_task(own(tmp_path, toml))
    assert said in str(caught.value)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("gone", ["task.toml", "instruction.md", "tests/test.sh"])
def test_a_folder_that_lacks_something_is_no_task(tmp_path: Path, gone: str) -> None:
    (own(tmp_path) / gone).unlink()
    with pytest.raises(TaskError, match=Path(gone).name):
        read_task(tmp_path)


def test_a_scope_has_its_wording_or_the_general_one(tmp_path: Path) -> None:
    task = read_task(own(tmp_path, "[harness]\nscopes = ['bounded', 'open']"))
    write_files(tmp_path, {"instruction.open.md": "Do as you like."})
    assert (instruction(task, "bounded"), instruction(task, "open")) == ("Do it.", "Do as you like.")
    with pytest.raises(TaskError, match="no scope 'broad'"):
        instruction(task, "broad")


def test_a_scripted_agent_has_steps_for_a_scope_or_for_all(tmp_path: Path) -> None:
    task = read_task(own(tmp_path))
    steps = (Step("I read.", calls=(call("read", path="a.py"),)), Step("Done."))
    write_files(tmp_path, {"trajectories/tamper.json": steps_json(steps)})
    write_files(tmp_path, {"trajectories/tamper.open.json": steps_json(steps[1:])})
    assert trajectory(task, "tamper", "bounded") == steps
    assert trajectory(task, "tamper", "open") == steps[1:]
    assert [step.calls for step in trajectory(task, "nop", "bounded")] == [()]
    with pytest.raises(TaskError, match="no scripted agent oracle"):
        trajectory(task, "oracle", "bounded")
    write_files(tmp_path, {"solution/solve.sh": "touch x\n"})
    assert trajectory(task, "oracle", "bounded")[0].calls == (Call("bash", {"command": "touch x\n"}),)
    write_files(tmp_path, {"trajectories/oracle.json": "[{}"})
    with pytest.raises(TaskError, match=r"oracle\.json"):
        trajectory(task, "oracle", "bounded")


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("tests/test_a.py", "tests/**", True),
        ("tests/unit/test_a.py", "tests/**", True),
        ("mytests/test_a.py", "tests/**", False),
        ("tests/unit/test_a.py", "tests/*", False),
        ("conftest.py", "**/conftest.py", True),
        ("a/b/conftest.py", "**/conftest.py", True),
        ("a/conftest.pyc", "**/conftest.py", False),
        ("a.py", "?.py", True),
        ("aXpy", "a.py", False),
    ],
)
def test_globs(path: str, pattern: str, expected: bool) -> None:
    assert matches(path, (pattern,)) is expected


def test_the_hash_is_of_names_bytes_and_what_may_be_executed(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": "1", "b/c": "2"})
    hashes = [folder_sha256(tmp_path)]
    (tmp_path / "__pycache__").mkdir()
    write_files(tmp_path, {"__pycache__/x": "", ".home/y": ""})
    os.utime(tmp_path / "a", (1, 1))
    assert folder_sha256(tmp_path) == hashes[0]
    (tmp_path / "a").chmod(0o755)
    hashes.append(folder_sha256(tmp_path))
    write_files(tmp_path, {"a": "3"})
    hashes.append(folder_sha256(tmp_path))
    (tmp_path / "a").rename(tmp_path / "d")
    hashes.append(folder_sha256(tmp_path))
    assert len(set(hashes)) == 4


def test_the_packs() -> None:
    packs = list_packs()
    assert {"testgap", "debug"} <= {pack.id for pack in packs}
    for pack in packs:
        assert pack.title
        assert pack.description
        assert len(pack.instances) == len(set(pack.instances))


def test_a_name_a_prefix_and_a_path(tmp_path: Path) -> None:
    first = list_packs()[0]
    full = f"{first.id}/{first.instances[0]}"
    assert find_task(full).name == full
    assert find_task(str(own(tmp_path / "mine"))).folder == tmp_path / "mine"
    with pytest.raises(TaskError, match="tasks begin with") as caught:
        find_task("debug/")
    assert "debug/" in (caught.value.hint or "")
    with pytest.raises(TaskError, match="no task is named 'debgu/todo-1'") as caught:
        find_task("debgu/todo-1")
    assert "did you mean debug/todo-1?" in (caught.value.hint or "")
    with pytest.raises(TaskError, match=r"it has no task\.toml"):
        find_task(str(tmp_path))


def test_a_task_is_not_written_over_something(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": ""})
    with pytest.raises(TaskError, match="not empty"):
        materialise("debug/todo-1", 1, tmp_path)


def test_a_folder_of_the_users_own_is_copied(tmp_path: Path) -> None:
    made = materialise(str(own(tmp_path / "mine", "[harness]\nloopback = true")), 5, tmp_path / "made")
    assert (made.name, made.folder, made.harness.loopback) == ("mine", tmp_path / "made", True)
    assert (made.folder / "workspace").is_dir()
    assert made.sha256 == read_folder(made.folder).sha256
