"""Changes of the text at their tokens, where characters and tokens do not run alike."""

from __future__ import annotations

import pytest

from profiler.causes.alignment import Gap
from profiler.causes.text_difference import Hunk
from profiler.causes.token_places import Scale, place_hunks

SCALE = Scale(prompt=(4000, 1000), whole=(4400, 1100), new_tokens=2000, new_density=0.25)


def hunk(start: int, end: int, new_chars: int = 0) -> Hunk:
    return Hunk(start, "x" * (end - start), "y" * new_chars, start, end, start, start + new_chars)


def test_each_change_of_the_text_has_that_of_the_tokens() -> None:
    placed = place_hunks(
        [hunk(400, 440, 40), hunk(2000, 2400)], [Gap(90, 100, 90, 100), Gap(520, 620, 520, 520)], SCALE
    )
    assert [(one.token, one.shrunk_tokens) for one in placed] == [(90, 0), (520, 100)]


def test_equal_changes_stay_in_order_where_a_text_is_dense_in_one_part() -> None:
    """A prompt that begins with prose and goes on with code: by characters alone, each would be taken for the next."""
    hunks = [hunk(100, 140, 40), *(hunk(start, start + 120) for start in (1600, 2200, 2800))]
    gaps = [Gap(20, 30, 20, 30), *(Gap(start, start + 30, start, start) for start in (250, 420, 600))]
    assert [one.token for one in place_hunks(hunks, gaps, SCALE)] == [20, 250, 420, 600]


def test_a_change_that_no_token_shows_is_an_estimate() -> None:
    (first, second) = place_hunks([hunk(400, 440, 40), hunk(2000, 2004, 4)], [Gap(100, 110, 100, 110)], SCALE)
    assert (first.token, first.gap) == (100, 0)
    assert second.token == pytest.approx(500, rel=0.05)
    assert second.gap is None


def test_two_changes_may_be_one_of_the_tokens() -> None:
    placed = place_hunks([hunk(400, 410, 10), hunk(420, 430)], [Gap(100, 108, 100, 104)], SCALE)
    assert placed[0].token == 100
    assert sum(one.shrunk_tokens for one in placed) == 4


def test_what_is_added_behind_the_last_change_is_not_counted() -> None:
    """The reply lost 200 characters of 400; the new side goes on for hundreds of tokens."""
    (only,) = place_hunks([hunk(4000, 4200, 0)], [Gap(1000, 1100, 1000, 2000)], SCALE)
    assert only.shrunk_tokens == 100
    (shorter,) = place_hunks([hunk(4000, 4400, 200)], [Gap(1000, 1100, 1000, 2000)], SCALE)
    assert shorter.shrunk_tokens == 50


def test_the_last_token_alone_says_nothing() -> None:
    """The end of a reply is another token in the history: nothing was taken out of the prompt for that."""
    (only,) = place_hunks([hunk(400, 440, 40)], [Gap(100, 110, 100, 110), Gap(1099, 1100, 1099, 2000)], SCALE)
    assert only.shrunk_tokens == 0


def test_changes_at_the_very_end_have_places_too() -> None:
    hunks = [hunk(400, 440, 40), hunk(4390, 4400), hunk(4400, 4400, 9)]
    placed = place_hunks(hunks, [Gap(100, 110, 100, 110), Gap(1090, 1100, 1090, 1095)], SCALE)
    assert [one.token for one in placed] == sorted(one.token for one in placed)
