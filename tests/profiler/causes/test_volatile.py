"""Values that change by themselves, told from texts that were changed."""

from __future__ import annotations

import pytest

from profiler.causes.volatile import changed_lines, same_but_for


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("Today's date: Fri Nov 20 2026", "Today's date: Sat Nov 21 2026", "a date or time"),
        ("Current date: 2026-11-20", "Current date: 2026-11-21", "a date or time"),
        ("Now: 2026-11-20T09:14:31.123Z", "Now: 2026-11-20T09:15:02.004Z", "a date or time"),
        ("time 09:14:31 AM CET", "time 10:01:00 PM CEST", "a date or time"),
        ("It is Friday, 20 November 2026.", "It is Saturday, 21 November 2026.", "a date or time"),
        ("on 11/20/2026", "on 11/21/2026", "a date or time"),
        ("Today Date: 20 Nov 2026", "Today Date: 1 Dec 2026", "a date or time"),
        ("memory 43% full", "memory 51% full", "a share or size"),
        ("free: 12.4 GB", "free: 9 GB", "a share or size"),
        ("cwd: /srv/a", "cwd: /srv/a/b", "a path"),
        ("cwd: C:\\work", "cwd: D:\\other\\work", "a path"),
        ("session 7f3a9c2e", "session b81d04aa", "an id"),
        ("turn 7 of 9", "turn 8 of 9", "a counter"),
        ("at 09:14 in /a/b, 43%", "at 09:15 in /a/c, 44%", "values"),
    ],
)
def test_a_value_is_named_by_its_kind(old: str, new: str, what: str) -> None:
    assert same_but_for(f"same\n{old}\nsame", f"same\n{new}\nsame") == what


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Be brief.", "Be long."), ("same", "same"), ("", ""), ("", "Date: 2026-11-20"), ("a\nb", "a\nb\nc"),
        ("on branch main", "on branch fix"), ("maybe 3 files", "march 3 files"),
    ],
)  # fmt: skip
def test_a_text_that_was_changed_is_no_value(old: str, new: str) -> None:
    assert same_but_for(old, new) is None


def test_changed_lines_are_those_of_one_side() -> None:
    assert changed_lines("a\nb\n\n", "a\nc\n") == ("b", "c")
