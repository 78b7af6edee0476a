"""Keywords, claims with their negation, assignment of texts to what they name, and twins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.spectree.matching import assign, content_words, duplicates, fits, mentions, words
from harness.tasks.spectree.tree import Node


def node(name: str, title: str, body: str = "", parent: str | None = None) -> Node:
    layer = {"G": "goal", "F": "feature", "R": "requirement"}[name[0]]
    return Node(name, layer, title, body, "draft", f"{name}.md", True, name, (parent,) if parent else (), None)


def test_words_of_identifiers_are_several() -> None:
    assert words("undoStep, redo_step: 1.5 s") == ["undo", "step", "redo", "step", "1", "5", "s"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Undoing changes", True),
        ("Changes are taken back, at most 200 of them", True),
        ("Step back through changes", False),
        ("backtaken", False),
    ],
)
def test_a_keyword_fits_the_beginnings_of_words_in_order(text: str, found: bool) -> None:
    assert fits(words(text), [["undo", "taken back"]]) is found


def test_of_every_group_one_has_to_be_there() -> None:
    groups = [["undo", "history"], ["200", "limit"]]
    assert fits(words("The history has a limit"), groups)
    assert not fits(words("The history is kept"), groups)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Users can sync their notes to the cloud.", ["cloud", "sync"]),
        ("Works without cloud or sync", []),
        ("It never needs the cloud. Notes sync at night.", ["sync"]),
        ("Cloudy days are drawn grey; synchronous code.", []),
        ("Synchronisation of devices", ["synchroni*"]),
        ("A health log includes symptoms", []),
    ],
)
def test_what_is_denied_is_not_claimed(text: str, found: list[str]) -> None:
    assert mentions(text, ["cloud", "sync", "synchroni*", "log in"]) == found


def test_one_text_stands_for_a_few_things_only() -> None:
    assert [found is not None for found in assign([[0]] * 5, 2)].count(True) == 2


def test_an_assignment_makes_room_for_what_has_no_choice() -> None:
    assert assign([[0, 1], [0]], 1) == [1, 0]


@given(
    st.lists(st.lists(st.integers(0, 4), max_size=5, unique=True), max_size=8),
    st.integers(1, 3),
)
def test_an_assignment_holds_its_capacity_and_its_candidates(candidates: list[list[int]], capacity: int) -> None:
    chosen = assign(candidates, capacity)
    assert all(taken is None or taken in listed for taken, listed in zip(chosen, candidates, strict=True))
    assert all(chosen.count(taken) <= capacity for taken in range(5))
    # What was left out has only candidates that are full.
    for taken, listed in zip(chosen, candidates, strict=True):
        assert taken is not None or all(chosen.count(other) == capacity for other in listed)


@pytest.mark.parametrize(
    ("first", "second", "twins"),
    [
        (node("F-0001", "Undo and redo"), node("F-0002", "Undo and Redo"), True),
        (node("F-0001", "Rotating daily backups"), node("F-0002", "Daily rotating backup"), True),
        (node("F-0001", "Search"), node("F-0002", "Saved searches"), False),
        (node("R-0001", "Limits", parent="F-0001"), node("R-0002", "Limits", parent="F-0002"), False),
        (node("R-0001", "Limits", parent="F-0001"), node("R-0002", "Limits", parent="F-0001"), True),
        (node("F-0001", "A", "one text stands here"), node("F-0002", "B", "One text stands here!"), True),
        (node("G-001", "Undo"), node("F-0001", "Undo"), False),
    ],
)  # fmt: skip
def test_twins(first: Node, second: Node, twins: bool) -> None:
    assert bool(duplicates([first, second])) is twins


def test_each_twin_counts_once() -> None:
    assert len(duplicates([node(f"F-000{number}", "Undo") for number in range(1, 5)])) == 3


def test_content_words_are_stems_without_noise() -> None:
    assert content_words("Support for rotating the backups") == content_words("rotation of a backup")
