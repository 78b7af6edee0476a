"""Changes of texts and tokens, exact to the character and to the token."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.causes.alignment import Gap
from profiler.causes.text_difference import common_prefix, kind_of_hunk, text_hunks, token_gaps

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c", "<|im_start|>", "d\n", "\n"]), max_size=20).map("".join)


@given(LINES, LINES)
def test_the_common_prefix_is_the_longest(old: str, new: str) -> None:
    same = common_prefix(old, new)
    assert old[:same] == new[:same]
    assert same == min(len(old), len(new)) or old[same] != new[same]


@given(LINES, LINES)
def test_the_first_change_begins_at_the_first_character_that_differs(old: str, new: str) -> None:
    hunks = text_hunks(old, new)
    same = common_prefix(old, new)
    assert bool(hunks) == (same < len(old))
    if hunks:
        assert hunks[0].start == same
        assert [hunk.line_start for hunk in hunks] == sorted(hunk.line_start for hunk in hunks)


@given(LINES, LINES)
def test_what_only_goes_on_is_no_change(old: str, more: str) -> None:
    assert text_hunks(old, old + more) == []
    tokens = array("i", map(ord, old))
    assert token_gaps(tokens, tokens + array("i", map(ord, more))) == []


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [("a\nb\nc\n", "a\nx\nc\n", "changed"), ("a\nb\nc\n", "a\nc\n", "removed"), ("a\nc\n", "a\nb\nc\n", "inserted")],
)
def test_a_change_is_told_by_its_lines(old: str, new: str, kind: str) -> None:
    (hunk,) = text_hunks(old, new)
    assert kind_of_hunk(hunk) == kind


def test_marks_of_a_template_that_writes_no_line_ends_separate_too() -> None:
    old = "<|start|>user<|message|>one<|end|><|start|>user<|message|>two<|end|><|start|>user<|message|>three<|end|>"
    hunks = text_hunks(old, old.replace("one", "1").replace("three", "3"))
    assert [(hunk.start, hunk.end) for hunk in hunks] == [(24, 27), (old.index("three"), old.index("three") + 5)]


def test_tokens_that_changed_are_found_between_runs_of_equal_ones() -> None:
    old = array("i", range(100))
    new = array("i", [*range(30), 500, 501, *range(33, 60), *range(70, 100), 900])
    assert token_gaps(old, new) == [Gap(30, 33, 30, 32), Gap(60, 70, 59, 59)]


def test_a_short_run_of_equal_tokens_is_chance() -> None:
    old = array("i", [1, 2, 3, 10, 11, 12, 7, 8, 9])
    assert token_gaps(old, array("i", [1, 2, 3, 20, 11, 12, 30, 8, 9])) == [Gap(3, 9, 3, 9)]
