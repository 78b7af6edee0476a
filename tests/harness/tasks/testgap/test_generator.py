"""The services of the pack: four gaps each, mutants that can be made, and what the verifier makes of tests."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from random import Random

import pytest

from harness.tasks.base import Task
from harness.tasks.registry import instruction, list_packs, materialise, read_task, trajectory
from harness.tasks.testgap.generator import FEWEST_MUTANTS, GAPS, MUTANTS_PER_GAP, PAUSE_S, build, draw
from harness.tasks.testgap.service import gaps_of, make_service, variants
from harness.tasks.verify import verify
from tests.harness.tasks.bare_sandbox import BareSandbox
from tests.harness.tasks.pack_checks import check_agents, play
from tests.harness.tasks.task_folders import write_files

(PACK,) = (pack for pack in list_packs() if pack.id == "testgap")
NAMES = [instance.rpartition("-")[0] for instance in PACK.instances]


def test_every_domain_has_an_instance() -> None:
    assert {*NAMES} == {*variants()}


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_python_of_the_size_that_it_says(name: str) -> None:
    service = make_service(name, PAUSE_S)
    for text in (*service.sources.values(), *service.tests.values(), *(gap.tests for gap in service.gaps.values())):
        ast.parse(text)
        assert "@@" not in text
    lines = sum(len(text.splitlines()) for text in service.sources.values())
    assert 300 <= lines <= 500
    assert 5 <= len(service.sources) <= 9


@pytest.mark.parametrize("name", NAMES)
def test_each_gap_has_mutants_that_can_be_made(name: str) -> None:
    service = make_service(name, PAUSE_S)
    assert len(service.gaps) > GAPS, "a seed draws from more than it takes"
    for gap in service.gaps.values():
        assert len(gap.mutants) >= 4
        made = {service.sources[mutant.file].replace(mutant.before, mutant.after) for mutant in gap.mutants}
        assert len(made) == len(gap.mutants), "no mutant is there twice"
        for mutant in gap.mutants:
            assert gap.name not in mutant.also
            assert service.sources[mutant.file].count(mutant.before) == 1, mutant
            ast.parse(service.sources[mutant.file].replace(mutant.before, mutant.after))


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_has_the_tricky_gap_and_three_others(name: str) -> None:
    service = make_service(name, PAUSE_S)
    draws = [draw(Random(seed), service) for seed in range(12)]
    for drawn in draws:
        assert len(drawn) == GAPS
        assert "guard" in {gap.name for _, gap in drawn}
        assert all(FEWEST_MUTANTS <= len(gap.mutants) <= MUTANTS_PER_GAP for _, gap in drawn)
        assert all(gaps_of(service)[gap.name] == path for path, gap in drawn)
    assert len({tuple(gap.name for _, gap in drawn) for drawn in draws}) > 3


def test_the_gaps_are_marked_and_listed(tmp_path: Path) -> None:
    task = materialise("testgap/apikeys-1", 2, tmp_path / "task")
    texts = [file.read_text() for file in (task.folder / "workspace" / "tests").glob("*.py")]
    assert sorted(re.findall(r"TODO\((gap-\d)\)", "".join(texts))) == ["gap-1", "gap-2", "gap-3", "gap-4"]
    bounded = instruction(task, "bounded")
    assert re.findall(r"TODO\((gap-\d)\)", bounded) == ["gap-1", "gap-2", "gap-3", "gap-4"]
    assert "gap" not in instruction(task, "open")
    assert "Audit the whole suite" in instruction(task, "broad")
    assert 8 <= len(trajectory(task, "oracle", "bounded")) <= 20
    assert len(trajectory(task, "oracle", "broad")) > 20


def cut(folder: Path, mutants: list[dict[str, str]]) -> Task:
    """The task with fewer mutants: each is a run of pytest."""
    (folder / "hidden" / "mutants.json").write_text(json.dumps(mutants))
    return read_task(folder)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A task with two mutants, one of the guard and one of another gap."""
    made = materialise("testgap/resets-1", 5, tmp_path_factory.mktemp("testgap") / "task")
    mutants = json.loads((made.folder / "hidden" / "mutants.json").read_text())
    guard = next(mutant for mutant in mutants if "if not pepper" in mutant["before"])
    return cut(made.folder, [guard, next(mutant for mutant in mutants if mutant["gap"] != guard["gap"])])


def test_the_scripted_agents_with_one_mutant_for_each_gap(tmp_path: Path) -> None:
    made = materialise("testgap/devices-1", 7, tmp_path / "task")
    mutants = json.loads((made.folder / "hidden" / "mutants.json").read_text())
    first = {mutant["gap"]: mutant for mutant in reversed(mutants)}
    assert len(first) == GAPS
    check_agents(cut(made.folder, list(first.values())), tmp_path, BareSandbox(), thorough=False)


def with_test(task: Task, place: Path, code: str, name: str = "tests/test_new.py") -> Path:
    """The agent's workspace with one more test file."""
    work = play(task, (), place, BareSandbox()).workspace
    write_files(work, {name: code})
    return work


KILLS = """
import importlib
import pytest
from reset_links import boot, config

def test_blank(monkeypatch):
    monkeypatch.setenv("RESETS_ENV", "development")
    monkeypatch.setenv("RESETS_PEPPER", "")
    importlib.reload(config)
    with pytest.raises(boot.BootError):
        boot.assert_pepper_configured()
    monkeypatch.undo()
    importlib.reload(config)
"""
FAILS = "\ndef test_wrong():\n    assert False\n"
WATCHES = """
import hashlib, pathlib

def test_unchanged():
    text = pathlib.Path("reset_links/boot.py").read_bytes()
    assert hashlib.sha256(text).hexdigest() == {digest!r}
"""


def test_a_test_that_kills_one_of_two_mutants(task: Task, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    outcome = verify(task, with_test(task, tmp_path / "w", KILLS), BareSandbox())
    assert (outcome.score, outcome.parts["killed"], outcome.parts["new_tests"]) == (0.5, 1, 1)


def test_a_test_that_fails_on_the_original_kills_nothing_and_costs(task: Task, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    outcome = verify(task, with_test(task, tmp_path / "w", KILLS + FAILS), BareSandbox())
    assert (outcome.score, outcome.parts["failing_on_original"]) == (0.25, 1)


def test_a_test_that_only_watches_the_file_is_worth_nothing(task: Task, tmp_path: Path) -> None:
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha256((task.folder / "workspace" / "reset_links" / "boot.py").read_bytes()).hexdigest()
    (tmp_path / "w").mkdir()
    outcome = verify(task, with_test(task, tmp_path / "w", WATCHES.format(digest=digest)), BareSandbox())
    assert (outcome.score, outcome.parts["failing_on_original"]) == (0.0, 1)


def test_old_tests_in_a_changed_file_do_not_count(task: Task, tmp_path: Path) -> None:
    old = (task.folder / "workspace" / "tests" / "test_config.py").read_text()
    (tmp_path / "w").mkdir()
    work = with_test(task, tmp_path / "w", old + "\n\ndef test_nothing():\n    pass\n", "tests/test_config.py")
    assert verify(task, work, BareSandbox()).parts["new_tests"] == 1


def test_tests_that_cannot_be_collected(task: Task, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    outcome = verify(task, with_test(task, tmp_path / "w", "import nothing_of_that_name\n"), BareSandbox())
    assert (outcome.verified, outcome.valid) == ("fail", True)
    assert "cannot be collected" in " ".join(outcome.notes)


@pytest.mark.slow
def test_tests_that_take_too_long_are_worth_nothing(task: Task, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    outcome = verify(
        task, with_test(task, tmp_path / "w", "def test_x():\n    while True:\n        pass\n"), BareSandbox()
    )
    assert (outcome.verified, outcome.valid) == ("fail", True)
    assert outcome.notes[0] == "the new tests take more than 10 s"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("instance", PACK.instances)
def test_the_tests_with_gaps_pass_and_kill_none_of_their_mutants(instance: str, seed: int, tmp_path: Path) -> None:
    """The tests that are left, moved to files of other names, count as new ones: they must leave every mutant alive."""
    build(instance, seed, tmp_path / "task")
    task = materialise(f"testgap/{instance}", seed, tmp_path / "again")
    (tmp_path / "w").mkdir()
    work = play(task, (), tmp_path / "w", BareSandbox()).workspace
    for file in sorted((work / "tests").glob("test_*.py")):
        if file.name != "test_integration.py":
            file.rename(file.with_name(f"test_moved_{file.name}"))
    outcome = verify(task, work, BareSandbox())
    assert (outcome.parts["killed"], outcome.parts["failing_on_original"]) == (0, 0), outcome.notes
    assert outcome.parts["new_tests"] > 20
