"""Scores of trees: a perfect one, one in other words, and those whose faults were seen in models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.tasks.base import Task
from harness.tasks.registry import materialise
from harness.tasks.spectree.documents import Documents
from harness.tasks.spectree.score import PLACEHOLDERS_VERSION, score_tree

OTHER_WORDS = {
    "Consecutive day tracking": ("How many days in a row a habit was kept, now and at best.", [
        ("Grace days", "A run survives up to two missed days per month."),
        ("Open today", "As long as today is not over, the run up to yesterday stays alive."),
    ]),
    "Recurrence rules": ("Daily, weekday, interval and weekly-count frequencies.", [
        ("Weekly quota", "With «4 times a week» a habit remains due until four are reached."),
        ("Vacation", "Until the end of a pause nothing is due."),
    ]),
    "Calendar grid of the year": ("Every day is a square in a year overview.", [
        ("Intensity", "The shade of a square has four steps."),
        ("Accessible palette", "People who cannot tell red from green get blues."),
    ]),
    "Insight into consistency": ("Shows statistics of completion by week.", [
        ("Not enough data", "With too few weeks nothing is said about the direction."),
        ("Strongest day of the week", "Names the weekday with the most completions."),
    ]),
    "Recovery of unsaved work": ("Drafts are stored by themselves and offered after a crash.", [
        ("When drafts are written", "A draft is written when nothing was typed for 3 seconds, or after 30 seconds."),
        ("Newer drafts win", "A draft that is newer than the saved habit is offered at start."),
    ]),
    "Local snapshots": ("Compressed safety copies of the data file.", [
        ("Retention", "One per day, per week and per month is retained."),
        ("No needless copies", "If nothing has changed since the last copy, no new one is made."),
    ]),
    "Finding habits": ("Search over titles and notes.", [
        ("Relevance", "Title matches rank higher than note matches."),
        ("Forgiving input", "Diacritics do not matter, and the final word may be a prefix."),
    ]),
    "Quick launcher": ("A command menu.", [
        ("Fuzzy match", "Partial input selects commands."),
        ("Recent first", "Without input the most recently used are listed."),
    ]),
    "Data export": ("All habits as one JSON file.", [
        ("Integrity", "A corrupt bundle is rejected."),
        ("Compatibility", "Files of previous versions are migrated."),
    ]),
    "Paper output": ("A printable sheet of habits.", [
        ("Pagination", "A card never breaks across pages."),
        ("Formats", "A4, A5 and Letter."),
    ]),
}  # fmt: skip


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return materialise("spectree/habits-1", 7, tmp_path_factory.mktemp("spectree") / "task")


@pytest.fixture(scope="module")
def planted(task: Task) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((task.folder / "hidden" / "planted.json").read_text(encoding="utf-8"))
    return held


@pytest.fixture
def tree(task: Task, tmp_path: Path) -> Path:
    """A copy of the perfect tree, to be spoilt."""
    return shutil.copytree(task.folder / "solution" / "files", tmp_path / "work")


def written(tree: Path, name: str) -> Path:
    return next(tree.rglob(f"{name}-*.md"))


def test_the_planted_tree_is_worth_one(tree: Path, task: Task, planted: dict[str, Any]) -> None:
    reward = score_tree(tree, planted, task.folder / "workspace")
    assert reward["score"] == 1.0
    assert reward["notes"] == []
    counts = {"goals": 4, "features": 10, "requirements": 20, "top_level_features": 10}
    assert reward["parts"] == {
        "counts": counts, "missing_layers": [], "structure": 1.0, "placeholders": 0.0, "duplicates": 0.0,
        "features": 1.0, "requirements": 1.0, "invented": 0.0, "unsupported": 0.0,
        "placeholders_version": PLACEHOLDERS_VERSION,
    }  # fmt: skip


def test_a_tree_in_other_words_is_worth_about_as_much(tmp_path: Path, task: Task, planted: dict[str, Any]) -> None:
    documents = Documents(tmp_path)
    documents.create("goal", "Build lasting habits", body="People keep at it.")
    for title, (body, requirements) in OTHER_WORDS.items():
        feature = documents.create("feature", title, "G-001", body)
        for name, text in requirements:
            documents.create("requirement", name, feature.id, text)
    reward = score_tree(tmp_path, planted, task.folder / "workspace")
    assert reward["parts"]["features"] == 1.0
    assert reward["parts"]["requirements"] >= 0.9
    assert reward["score"] >= 0.95, reward["notes"]


def test_no_goals_cost_a_third(tree: Path, planted: dict[str, Any]) -> None:
    shutil.rmtree(tree / "speclan" / "goals")
    reward = score_tree(tree, planted)
    assert reward["parts"]["missing_layers"] == ["goal"]
    assert "the tree has no goals" in reward["notes"]
    assert reward["parts"]["counts"]["top_level_features"] == 0, "their goals are not there"
    assert 0.55 < reward["score"] < 0.67


@pytest.mark.parametrize("text", ["Goal description goes here.", "TODO", "[Describe the goal]", "To be written"])
def test_template_text_is_no_body(tree: Path, planted: dict[str, Any], text: str) -> None:
    goal = written(tree, "G-001")
    head = goal.read_text(encoding="utf-8").partition("# ")[0]
    goal.write_text(f"{head}# Intuitive habits\n\n{text}\n", encoding="utf-8")
    reward = score_tree(tree, planted)
    assert reward["parts"]["placeholders"] == pytest.approx(1 / 34, abs=1e-6)
    assert reward["score"] == pytest.approx(1 - 1 / 34, abs=1e-5)


def test_an_invented_feature_costs_twice_its_share(tree: Path, planted: dict[str, Any]) -> None:
    documents = Documents(tree)
    documents.create("goal", "User Identity and Access", body="People sign up with a password.")
    documents.create("feature", "Account and Billing Management", "G-005", "Invoices are paid by subscription.")
    reward = score_tree(tree, planted)
    assert reward["parts"]["invented"] == pytest.approx(2 / 36, abs=1e-6)
    assert any("is invented" in note and "billing" in note for note in reward["notes"])
    assert reward["score"] == pytest.approx(1 - 4 / 36, abs=1e-5)


def test_what_an_app_is_said_not_to_have_is_not_invented(tree: Path, planted: dict[str, Any]) -> None:
    Documents(tree).create("goal", "Private by design", body="It works without login, cloud or billing.")
    assert score_tree(tree, planted)["parts"]["invented"] == 0.0


def test_a_title_of_words_that_the_code_does_not_use_is_unsupported(
    tree: Path, task: Task, planted: dict[str, Any]
) -> None:
    Documents(tree).create("feature", "Weather radar overlay", "G-001", "Rain clouds are drawn.")
    reward = score_tree(tree, planted, task.folder / "workspace")
    assert reward["parts"]["unsupported"] == pytest.approx(1 / 11, abs=1e-6)


def test_half_a_tree_is_worth_about_half(tree: Path, planted: dict[str, Any]) -> None:
    for number in range(6, 11):
        shutil.rmtree(written(tree, f"F-{number:04d}").parent)
    reward = score_tree(tree, planted)
    assert reward["parts"]["features"] == pytest.approx(0.5, abs=0.05), "a little is named in passing"
    assert reward["parts"]["requirements"] == 0.5
    assert reward["score"] == pytest.approx(0.25 + 0.5 * 0.75, abs=0.03)


def test_a_feature_that_is_only_a_requirement_counts_half(tree: Path, planted: dict[str, Any]) -> None:
    shutil.rmtree(written(tree, "F-0010").parent)
    Documents(tree).create("requirement", "Printing on paper", "F-0009", "Habits can be printed.")
    assert score_tree(tree, planted)["parts"]["features"] == 0.95


def test_one_text_with_all_keywords_does_not_stand_for_all(tmp_path: Path, planted: dict[str, Any]) -> None:
    everything = ". ".join(f"{feature['title']}" for feature in planted["features"])
    documents = Documents(tmp_path)
    documents.create("goal", "All", body="All.")
    documents.create("feature", "All", "G-001", everything)
    documents.create("requirement", "All", "F-0001", everything)
    parts = score_tree(tmp_path, planted)["parts"]
    assert parts["features"] == 0.25
    assert parts["requirements"] <= 0.1


def test_a_tree_of_another_app_names_hardly_anything(tmp_path: Path, planted: dict[str, Any]) -> None:
    other = materialise("spectree/plants-1", 7, tmp_path / "task")
    theirs = json.loads((other.folder / "hidden" / "planted.json").read_text(encoding="utf-8"))
    shared = {feature["key"] for feature in theirs["features"]}
    own = {**planted, "features": [feature for feature in planted["features"] if feature["key"] not in shared]}
    parts = score_tree(other.folder / "solution" / "files", own)["parts"]
    assert parts["features"] <= 0.2
    assert parts["requirements"] == 0.0


def test_repeated_features_are_duplicates(tree: Path, planted: dict[str, Any]) -> None:
    Documents(tree).create("feature", "Streaks", "G-002", "Rows of days.")
    assert score_tree(tree, planted)["parts"]["duplicates"] == pytest.approx(1 / 35, abs=1e-6)


def test_no_tree_is_worth_nothing(tmp_path: Path, planted: dict[str, Any]) -> None:
    reward = score_tree(tmp_path, planted)
    assert reward["score"] == 0.0
    assert reward["parts"]["structure"] is None
    assert reward["parts"]["features"] == 0.0


def test_any_tree_can_be_scored_from_the_command_line(task: Task, tree: Path) -> None:
    command = [sys.executable, "-B", str(task.folder / "tests" / "verify.py"), str(tree)]
    alone = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert alone["score"] == 1.0, "its form alone"
    assert alone["parts"]["features"] is None
    known = ["--hidden", str(task.folder / "hidden"), "--code", str(task.folder / "workspace")]
    reward = json.loads(subprocess.run([*command, *known], capture_output=True, check=True).stdout)
    assert (reward["score"], reward["parts"]["features"], reward["parts"]["unsupported"]) == (1.0, 1.0, 0.0)


def test_what_was_claimed_and_is_not_there_is_noted(task: Task, tree: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.write_text(
        '{"name": "delete_feature", "arguments": {"id": "F-0011"}, "ok": true}\n'
        '{"name": "submit", "arguments": {"message": "I wrote G-001 and F-0099."}, "ok": true}\n',
        encoding="utf-8",
    )
    env = {
        "WORKSPACE": str(tree),
        "HIDDEN": str(task.folder / "hidden"),
        "REWARD_DIR": str(tmp_path),
        "LEDGER": str(ledger),
    }
    subprocess.run([sys.executable, "-B", str(task.folder / "tests" / "verify.py")], env=env, check=True)
    reward = json.loads((tmp_path / "reward.json").read_text(encoding="utf-8"))
    assert reward["notes"][0] == "claimed, but not there: F-0099"
    assert reward["parts"]["calls"] == {"delete_feature": 1, "submit": 1}
    assert reward["parts"]["claimed"] == ["F-0099", "G-001"]
