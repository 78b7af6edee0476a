"""Trees as SPECLAN and others write them: what is read, and what of their form is named as wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.spectree.tree import CHECKS, find_root, front_matter, problems, read_tree

GOAL = "---\nid: G-292\ntitle: Trade with pets\nstatus: draft\ncontributors:\n  - F-1049\n---\n\n# Trade\n\nWhy.\n"
FEATURE = '---\nid: F-1049\ntype: feature\ntitle: "Pets"\nstatus: review\ngoals:\n  - G-292\n---\n\n# Pets\n\nWhat.\n'
CHILD = "---\nid: F-1200\ntitle: Health\nstatus: draft\ngoals: [G-292]\n---\n# Health\n\nWhat of it.\n"
REQUIREMENT = "---\nid: R-2046\ntitle: Checks\nstatus: approved\nfeature: F-1049\n---\n# Checks\n\nIt holds.\n"

PETS = "features/F-1049-pets/F-1049-pets.md"
SPECLAN = {
    "goals/G-292-trade.md": GOAL,
    PETS: FEATURE,
    "features/F-1049-pets/F-1200-health/F-1200-health.md": CHILD,
    "features/F-1049-pets/requirements/R-2046-checks/R-2046-checks.md": REQUIREMENT,
    "features/F-1049-pets/requirements/R-2046-checks/change-requests/CR-0731-more.md": "---\nid: CR-0731\n---\n",
    "templates/features/basic.md": "---\nid: F-0000\n---\n# {title}\n",
    "vision.md": "# Vision\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_tree_in_speclans_layout_has_no_problem(tmp_path: Path) -> None:
    nodes = read_tree(write(tmp_path, SPECLAN))
    assert [(node.id, node.layer, node.parent, node.title) for node in nodes] == [
        ("F-1049", "feature", "G-292", "Pets"),
        ("F-1200", "feature", "G-292", "Health"),
        ("R-2046", "requirement", "F-1049", "Checks"),
        ("G-292", "goal", None, "Trade with pets"),
    ]
    assert nodes[1].within == "F-1049"
    assert nodes[0].body == "What."
    assert problems(nodes) == {}


@pytest.mark.parametrize(
    ("name", "text", "failed"),
    [
        ("goals/G-001-a.md", "# A\n\nBody.\n", ["front_matter", "id", "status"]),
        ("goals/G-001-a.md", "---\nid: G-002\nstatus: draft\n---\n# A\n\nBody.\n", ["id"]),
        ("goals/G-01-a.md", "---\nid: G-01\nstatus: draft\n---\n# A\n\nBody.\n", ["id"]),
        ("goals/G-001-a.md", "---\nid: G-001\nstatus: done\n---\n# A\n\nBody.\n", ["status"]),
        ("goals/G-001-a.md", "---\nid: G-001\nstatus: draft\n---\n# A\n\n## Overview\n", ["body"]),
        ("G-001-a.md", "---\nid: G-001\nstatus: draft\n---\n# A\n\nBody.\n", ["place"]),
        ("features/F-0001-a.md", "---\nid: F-0001\nstatus: draft\n---\nBody.\n", ["place", "parent"]),
        ("features/F-0001-a/F-0001-a.md", "---\nid: F-0001\nstatus: draft\nparent: G-001\n---\nBody.\n", ["parent"]),
        ("features/F-0001-a/F-0001-a.md", "---\nid: F-0001\nstatus: draft\nparent: R-0001\n---\nB.\n", ["parent"]),
        ("features/any.md", "---\nid: F-0001\nstatus: draft\n---\nBody.\n", ["id", "place", "parent"]),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, name: str, text: str, failed: list[str]) -> None:
    assert problems(read_tree(write(tmp_path, {name: text}))) == {name: failed}


def test_two_files_with_one_id_are_both_named(tmp_path: Path) -> None:
    text = "---\nid: G-001\nstatus: draft\n---\n# A\n\nBody.\n"
    nodes = read_tree(write(tmp_path, {"goals/G-001-a.md": text, "goals/G-001-b.md": text}))
    assert problems(nodes) == {"goals/G-001-a.md": ["unique"], "goals/G-001-b.md": ["unique"]}


def test_a_feature_may_be_named_by_its_goal_instead(tmp_path: Path) -> None:
    assert problems(read_tree(write(tmp_path, {**SPECLAN, PETS: FEATURE.replace("  - G-292", "")}))) == {}
    nodes = read_tree(write(tmp_path, {"goals/G-292-trade.md": GOAL.replace("F-1049", "F-9999")}))
    assert problems(nodes)["goals/G-292-trade.md"] == ["parent"]
    assert problems(nodes)[PETS] == ["parent"]


@pytest.mark.parametrize("place", ["", "speclan/", "specs/speclan/"])
def test_the_tree_is_found_below_a_project(tmp_path: Path, place: str) -> None:
    write(tmp_path, {place + "features/F-1049-pets/F-1049-pets.md": FEATURE})
    assert find_root(tmp_path) == tmp_path / place.rstrip("/")


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"G-001-a.md": GOAL})
    (tmp_path / "tree" / "goals").mkdir(parents=True)
    (tmp_path / "tree" / "goals" / "G-001-a.md").symlink_to(outside / "G-001-a.md")
    assert read_tree(tmp_path / "tree") == []


def test_front_matter_of_lists_quotes_and_colons() -> None:
    held, after = front_matter("---\na: 'x: y'\nb: [G-001, \"G-002\"]\nc:\n  - one\n  - two\nd:\n---\nrest")
    assert held == {"a": "x: y", "b": ["G-001", "G-002"], "c": ["one", "two"], "d": ""}
    assert after == "rest"


def test_text_without_an_end_of_the_front_matter_has_none() -> None:
    assert front_matter("---\nid: G-001\n") == (None, "---\nid: G-001\n")


@given(st.text(max_size=300))
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    held, after = front_matter(text)
    assert held is not None or after == text


def test_the_checks_are_those_of_the_docstring() -> None:
    for check in CHECKS:
        assert f"`{check}`:" in (problems.__doc__ or "")
