"""Texts cut for a reader and for a rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from profiler.causes.excerpts import SHOWN_CHARS, WHOLE_CHARS, excerpt, lead, window

TEXTS = st.text(alphabet="ab \n", max_size=300)


@given(TEXTS, st.integers(0, 300))
def test_cuts_are_short_and_touch_the_place(text: str, char: int) -> None:
    char = min(char, len(text))
    assert text[:char].endswith(lead(text, char))
    assert text[char:].startswith(excerpt(text[char:]))
    assert max(len(lead(text, char)), len(excerpt(text[char:]))) <= SHOWN_CHARS


def test_a_cut_falls_between_words() -> None:
    words = "seventeen " * 30
    assert excerpt(words).endswith("seventeen")
    assert lead(words, 200).startswith("seventeen")


def test_rules_see_both_sides_around_the_first_difference() -> None:
    old, new = "a" * 50_000 + "old" + "b" * 50_000, "a" * 50_000 + "new" + "b" * 50_000
    ours, theirs = window(old, new)
    assert len(ours) == len(theirs) == WHOLE_CHARS
    assert "old" in ours
    assert "new" in theirs
