"""The head of a Markdown file, split from its text; any text has one or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.front_matter import split_front_matter, words_of


@pytest.mark.parametrize(
    ("text", "head", "rest"),
    [
        ("---\nname: a b\npacks: [x, y]\n---\n# T\n", {"name": "a b", "packs": "[x, y]"}, "# T\n"),
        ('---\nname: "quoted"\ntools:\n  - Read\n# note\n---\n\nT', {"name": "quoted"}, "T"),
        ("---\r\nname: a\r\n---\r\nT\r\n", {"name": "a"}, "T\n"),
        ("---\n---\nT", {}, "T"),
        ("no head\n---\nname: a\n---\n", {}, "no head\n---\nname: a\n---\n"),
        ("---\nname: a\nnever closed\n", {}, "---\nname: a\nnever closed\n"),
        ("", {}, ""),
    ],
)
def test_a_head(text: str, head: dict[str, str], rest: str) -> None:
    assert split_front_matter(text) == (head, rest)


@pytest.mark.parametrize("value", ["[edit, run]", '["edit", "run"]', "edit,run", "['edit',run,]"])
def test_a_list(value: str) -> None:
    assert words_of(value) == ("edit", "run")


@given(st.text())
def test_any_text_is_split(text: str) -> None:
    head, rest = split_front_matter(text)
    assert rest in text.replace("\r\n", "\n")
    assert all((key and value.strip() == value) or value for key, value in head.items())
