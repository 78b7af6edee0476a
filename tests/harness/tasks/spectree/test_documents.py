"""Creating, changing, moving and deleting goals, features and requirements, as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.tasks.spectree.documents import TEMPLATES, Documents, DocumentsError
from harness.tasks.spectree.tree import Node, problems, read_tree


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    made = Documents(tmp_path)
    made.create("goal", "Lose nothing", body="Work is never lost.")
    made.create("feature", "Undo", "G-001", "Changes are taken back.")
    made.create("requirement", "200 steps", "F-0001", "At most 200 steps are kept.")
    return made


def nodes(folder: Path) -> dict[str, Node]:
    return {node.id: node for node in read_tree(folder / "speclan")}


def test_what_is_created_lies_in_speclans_layout(documents: Documents, tmp_path: Path) -> None:
    child = documents.create("feature", "Redo", "F-0001", "And brought back.")
    assert child.path == "speclan/features/F-0001-undo/F-0002-redo/F-0002-redo.md"
    there = nodes(tmp_path)
    assert {name: node.parent for name, node in there.items()} == {
        "G-001": None, "F-0001": "G-001", "F-0002": "F-0001", "R-0001": "F-0001",
    }  # fmt: skip
    assert problems(list(there.values())) == {}
    assert there["F-0002"].references == ("F-0001", "G-001"), "a part serves the goal of its feature"


def test_without_a_body_the_template_stays(documents: Documents, tmp_path: Path) -> None:
    documents.create("goal", "Another")
    assert nodes(tmp_path)["G-002"].body == TEMPLATES["goal"] == "Goal description goes here."


def test_a_new_title_moves_a_feature_with_what_is_below(documents: Documents, tmp_path: Path) -> None:
    written = documents.update("feature", "F-0001", title="Undo and redo")
    assert written.path == "speclan/features/F-0001-undo-and-redo/F-0001-undo-and-redo.md"
    assert set(written.changed) == {
        "speclan/features/F-0001-undo/F-0001-undo.md",
        "speclan/features/F-0001-undo/requirements/R-0001-200-steps/R-0001-200-steps.md",
        written.path,
        "speclan/features/F-0001-undo-and-redo/requirements/R-0001-200-steps/R-0001-200-steps.md",
    }
    assert problems(list(nodes(tmp_path).values())) == {}


def test_a_requirement_moves_to_another_feature(documents: Documents, tmp_path: Path) -> None:
    documents.create("feature", "Trash", "G-001", "Deleted things wait.")
    documents.update("requirement", "R-0001", parent="F-0002", body="After 30 days they go.", status="review")
    moved = nodes(tmp_path)["R-0001"]
    assert (moved.parent, moved.within, moved.status, moved.body) == (
        "F-0002",
        "F-0002",
        "review",
        "After 30 days they go.",
    )
    assert problems(list(nodes(tmp_path).values())) == {}


def test_a_goal_gets_another_title(documents: Documents, tmp_path: Path) -> None:
    assert documents.update("goal", "G-001", title="Keep all").path == "speclan/goals/G-001-keep-all.md"
    assert len(nodes(tmp_path)) == 3


def test_a_deleted_id_is_not_given_again(documents: Documents, tmp_path: Path) -> None:
    documents.delete("requirement", "R-0001")
    assert documents.create("requirement", "Steps are joined", "F-0001", "Within a second.").id == "R-0002"
    assert "R-0001" not in nodes(tmp_path)


def test_a_tree_that_is_there_already_is_continued(documents: Documents, tmp_path: Path) -> None:
    assert documents.create("goal", "Two").id == "G-002"
    assert Documents(tmp_path).create("goal", "Three").id == "G-003"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda it: it.create("feature", "X", "G-009"), "G-009 is no goal or feature; there are: F-0001, G-001"),
        (lambda it: it.create("requirement", "X", "G-001"), "G-001 is no feature; there are: F-0001"),
        (lambda it: it.create("feature", "X"), "nothing is no goal or feature"),
        (lambda it: it.create("goal", " ! "), "needs a title"),
        (lambda it: it.create("goal", "X", status="done"), "'done' is no status"),
        (lambda it: it.update("feature", "F-0009", title="X"), "there is no feature F-0009; there are: F-0001"),
        (lambda it: it.update("feature", "G-001", title="X"), "there is no feature G-001"),
        (lambda it: it.delete("goal", "G-001"), "G-001 still has F-0001"),
        (lambda it: it.delete("feature", "F-0001"), "F-0001 still has R-0001"),
        (lambda it: it.delete("requirement", "R-0002"), "there are: R-0001"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(documents: Documents, tmp_path: Path, act, said: str) -> None:  # type: ignore[no-untyped-def]
    before = {path: path.read_text() for path in tmp_path.rglob("*.md")}
    with pytest.raises(DocumentsError, match=said):
        act(documents)
    assert {path: path.read_text() for path in tmp_path.rglob("*.md")} == before


def test_a_feature_cannot_lie_inside_itself(documents: Documents) -> None:
    documents.create("feature", "Redo", "F-0001", "Brought back.")
    with pytest.raises(DocumentsError, match="inside itself"):
        documents.update("feature", "F-0001", parent="F-0002")


def test_titles_of_any_signs_become_file_names(documents: Documents, tmp_path: Path) -> None:
    odd = documents.create("goal", '../"Étude"\n: 100 % #1', body="Text.")
    assert odd.path == "speclan/goals/G-002-tude-100-1.md"
    assert nodes(tmp_path)["G-002"].title == "../'Étude' : 100 % #1"
    assert documents.create("goal", "目標", body="Text.").path == "speclan/goals/G-003-untitled.md"


def test_the_vision_is_no_part_of_the_tree(documents: Documents, tmp_path: Path) -> None:
    assert documents.write_vision("What for.").changed == ("speclan/vision.md",)
    assert len(nodes(tmp_path)) == 3
