"""The tasks of the pack: every instance's planted tree is worth 1, and the scopes say what they should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.tasks.base import Task
from harness.tasks.registry import instruction, list_packs, materialise, trajectory
from harness.tasks.spectree.app import KINDS
from harness.tasks.spectree.score import score_tree

PACK = next(pack for pack in list_packs() if pack.id == "spectree")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return materialise("spectree/zones-1", 3, tmp_path_factory.mktemp("spectree") / "task")


@pytest.mark.parametrize("instance", PACK.instances)
def test_every_instances_solution_is_worth_one(instance: str, tmp_path: Path) -> None:
    made = materialise(f"spectree/{instance}", 5, tmp_path / "task")
    planted = json.loads((made.folder / "hidden" / "planted.json").read_text(encoding="utf-8"))
    reward = score_tree(made.folder / "solution" / "files", planted, made.folder / "workspace")
    assert (reward["score"], reward["notes"]) == (1.0, [])


def test_every_kind_of_app_is_an_instance() -> None:
    assert {instance.rpartition("-")[0] for instance in PACK.instances} == set(KINDS)


def test_the_scopes_name_the_modules_the_app_or_everything(task: Task) -> None:
    planted = json.loads((task.folder / "hidden" / "planted.json").read_text(encoding="utf-8"))
    files = [feature["evidence"][0] for feature in planted["features"]]
    assert all(f"`{file}`" in instruction(task, "bounded") for file in files)
    assert not any(file in instruction(task, scope) for file in files for scope in ("open", "broad"))
    assert "vision" in instruction(task, "broad")
    assert "vision" not in instruction(task, "open")


def test_no_planted_title_is_told_to_the_agent(task: Task) -> None:
    planted = json.loads((task.folder / "hidden" / "planted.json").read_text(encoding="utf-8"))
    seen = "\n".join(
        path.read_text(encoding="utf-8") for path in (task.folder / "workspace").rglob("*") if path.is_file()
    )
    for feature in planted["features"]:
        assert not any(requirement["title"] in seen for requirement in feature["requirements"])


def test_a_rehearsal_has_about_fifty_calls_in_twenty_turns(task: Task) -> None:
    steps = trajectory(task, "oracle", "bounded")
    assert len(steps) == 20
    assert sum(len(step.calls) for step in steps) == 49
    vision = trajectory(task, "oracle", "broad")
    assert [call.name for step in vision for call in step.calls].count("write_vision") == 1


def test_the_verifier_takes_its_modules_along(task: Task) -> None:
    for name in ("verify.py", "tree.py", "matching.py"):
        text = (task.folder / "tests" / name).read_text(encoding="utf-8")
        assert "from harness" not in text
