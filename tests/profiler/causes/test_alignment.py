"""Equal runs of two sequences: right, in order, and the long way round where nothing occurs once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from profiler.causes.alignment import Gap, equal_runs, gaps

SOME = st.lists(st.integers(0, 5), max_size=30)


@given(SOME, SOME)
def test_runs_are_equal_and_rise_and_gaps_are_the_rest(old: list[int], new: list[int]) -> None:
    runs = equal_runs(old, new)
    assert all(old[i : i + n] == new[j : j + n] and n > 0 for i, j, n in runs)
    rebuilt_old: list[int] = []
    rebuilt_new: list[int] = []
    pieces = [(i, i + n, j, j + n) for i, j, n in runs] + [tuple(gap) for gap in gaps(runs, len(old), len(new))]
    for i, i_end, j, j_end in sorted(pieces):
        rebuilt_old += old[i:i_end]
        rebuilt_new += new[j:j_end]
    assert (rebuilt_old, rebuilt_new) == (old, new)


@given(SOME, SOME)
def test_what_only_goes_on_is_one_run(old: list[int], more: list[int]) -> None:
    assert equal_runs(old, old + more) == ([(0, 0, len(old))] if old else [])


def test_an_element_that_occurs_once_holds_the_sides_together() -> None:
    assert equal_runs("xxAyyBzz", "xAyyyBz") == [(0, 0, 1), (2, 1, 3), (5, 5, 2)]
    assert gaps([(0, 0, 1), (2, 1, 3)], 5, 6) == [Gap(1, 2, 1, 1), Gap(5, 5, 4, 6)]


def test_equal_ends_of_two_sequences_that_go_on_are_no_run() -> None:
    """The new side goes on behind the old one: that both end alike says nothing."""
    assert equal_runs("aabb", "aaccbb") == [(0, 0, 2)]


def test_keys_say_more_than_single_elements() -> None:
    old, new = "ab ab ab cd", "ab cd ab ab"
    keys = tuple([text[n : n + 5] for n in range(len(text) - 4)] for text in (old, new))
    assert equal_runs(old, new, (keys[0], keys[1]))[0] == (0, 0, 3)
