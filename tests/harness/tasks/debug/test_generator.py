"""The planted faults of the todo list: what each breaks, and that every draw breaks exactly 13 tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.debug.faults import Fault, planted, repair
from harness.tasks.debug.generator import BUGS, FAILING, build, draw, faults, project
from harness.tasks.registry import list_packs, materialise, read_task, trajectory
from harness.tasks.verify import verify
from tests.harness.tasks.bare_sandbox import BareSandbox
from tests.harness.tasks.pack_checks import verified
from tests.harness.tasks.task_folders import write_files

FAULTS = faults()
(PACK,) = (pack for pack in list_packs() if pack.id == "debug")


def failing(folder: Path, texts: Mapping[str, str]) -> tuple[set[str], int]:
    """Tests that fail in a project, and how many there are."""
    write_files(folder, texts)
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml"]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, check=False)
    cases = list(ET.parse(folder / "report.xml").iter("testcase"))
    names = {f"{case.get('classname', '').rpartition('.')[2]}.py::{case.get('name')}" for case in cases if len(case)}
    return names, len(cases)


def test_the_project_is_whole_and_as_large_as_it_says(tmp_path: Path) -> None:
    assert failing(tmp_path / "whole", project()) == (set(), 35)
    modules = [text for path, text in project().items() if path.endswith(".py") and "/" not in path]
    lines = [line for text in modules for line in text.splitlines() if line.strip()]
    assert len(modules) == 4
    assert 330 <= len(lines) <= 400


def test_every_fault_can_be_planted_alone() -> None:
    assert len(FAULTS) >= 25
    for fault in FAULTS:
        assert planted(project(), [fault])[fault.file] != project()[fault.file]
        assert f"def {fault.function}(" in project()[fault.file] or f"class {fault.function}" in project()[fault.file]


@given(st.integers())
def test_a_draw_breaks_thirteen_tests_in_ten_functions(seed: int) -> None:
    chosen = draw(Random(seed), FAULTS)
    assert len({fault.function for fault in chosen}) == BUGS
    assert len({name for fault in chosen for name in fault.breaks}) == FAILING
    assert len({fault.file for fault in chosen}) == 4


def test_the_draws_differ() -> None:
    draws = {draw(Random(f"{instance}:0"), FAULTS) for instance in PACK.instances}
    assert len(draws) == len(PACK.instances) == 8


def test_a_workspace_has_thirteen_failing_tests(tmp_path: Path) -> None:
    task = materialise("debug/todo-2", 4, tmp_path / "task")
    _, outcome = verified(task, "nop", "open", tmp_path / "nop", BareSandbox())
    assert (outcome.score, outcome.parts["failing_at_start"], outcome.parts["regressions"]) == (0.0, 13, 0)
    assert len([note for note in outcome.notes if note.startswith("still fails")]) == 13


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.function}-{fault.note[:24]}")
def test_a_fault_breaks_the_tests_that_it_names(fault: Fault, tmp_path: Path) -> None:
    assert failing(tmp_path / "w", planted(project(), [fault])) == ({*fault.breaks}, 35)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("instance", PACK.instances)
def test_every_instance_has_thirteen_failing_tests(instance: str, seed: int, tmp_path: Path) -> None:
    build(instance, seed, tmp_path / "task")
    expected = json.loads((tmp_path / "task" / "hidden" / "expected.json").read_text())
    chosen = draw(Random(f"{instance}:{seed}"), FAULTS)
    names, count = failing(tmp_path / "w", planted(project(), chosen))
    assert (sorted(names), len(names), count) == (expected["failing"], FAILING, 35)
    assert len(expected["passing"]) == 35 - FAILING


@pytest.mark.parametrize(
    ("notes", "claim", "ratio"),
    [("took: 4 minutes", 240.0, 2.0), ("took about an age", None, None)],
)
def test_notes_and_the_claimed_time(notes: str, claim: float | None, ratio: float | None, tmp_path: Path) -> None:
    task = materialise("debug/todo-1", 1, tmp_path / "task")
    work = write_files(tmp_path / "w", {"FIX_NOTES.md": f"I fixed `complete`.\n{notes}"})
    parts = verify(task, work, BareSandbox(), seconds=60.0).parts
    assert (parts["time_claim_s"], parts["time_claim_ratio"], parts["notes_exist"]) == (claim, ratio, True)
    functions = json.loads((task.folder / "hidden" / "expected.json").read_text())["functions"]
    assert parts["functions_named"] == (0.1 if "complete" in functions else 0.0)


def test_a_module_that_stands_in_for_the_test_runner_is_not_used(tmp_path: Path) -> None:
    task = materialise("debug/todo-1", 1, tmp_path / "task")
    fake = "import pathlib\npathlib.Path('report.xml').write_text('<testsuites/>')\n"
    work = write_files(tmp_path / "w", {"pytest.py": fake, "json.py": "raise SystemExit(0)\n", "entry.py": ""})
    outcome = verify(task, work, BareSandbox())
    assert (outcome.verified, outcome.valid, outcome.parts["fixed"]) == ("fail", True, 0)


@pytest.mark.slow
def test_a_program_that_never_ends_is_a_failure_and_not_the_verifiers(tmp_path: Path) -> None:
    task = materialise("debug/todo-1", 1, tmp_path / "task")
    file = task.folder / "tests" / "verify.py"
    file.write_text(file.read_text().replace("LIMIT_S = 60", "LIMIT_S = 3"))
    work = write_files(tmp_path / "w", {"entry.py": "while True:\n    pass\n"})
    outcome = verify(task, work, BareSandbox())
    assert (outcome.verified, outcome.valid, outcome.parts["regressions"]) == ("fail", True, 22)


@pytest.mark.parametrize(
    ("broken", "repaired"),
    [
        ("a\nb\nc\n", "a\nx\nc\n"),
        ("a\na\nb\n", "a\na\na\nb\n"),
        ("a\nb\n", "b\n"),
        ("x\ny\nx\ny\n", "x\ny\nx\nz\n"),
        ("a", "b"),
    ],
)
def test_an_edit_repairs(broken: str, repaired: str) -> None:
    old, new = repair(broken, repaired)
    assert broken.count(old) == 1
    assert broken.replace(old, new) == repaired


@given(st.lists(st.sampled_from("ab\n")).map("".join), st.lists(st.sampled_from("ab\n")).map("".join))
def test_any_two_texts_have_an_edit(broken: str, repaired: str) -> None:
    if broken in ("", repaired):
        return
    old, new = repair(broken, repaired)
    assert broken.count(old) == 1
    assert broken.replace(old, new) == repaired


def test_the_oracle_takes_as_many_turns_as_a_rehearsal_needs(tmp_path: Path) -> None:
    task = materialise("debug/todo-3", 1, tmp_path / "task")
    assert read_task(task.folder) == task
    assert 8 <= len(trajectory(task, "oracle", "bounded")) <= 20
    assert len(trajectory(task, "oracle", "broad")) > 25
