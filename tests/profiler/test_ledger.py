"""The ledger against a naive comparison, token by token."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.ledger import TOKEN_BYTES, Ledger, Match, common_prefix_tokens


def ids(*tokens: int) -> array[int]:
    return array("i", tokens)


def naive(a: array[int], b: array[int]) -> int:
    shared = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        shared += 1
    return shared


TOKEN = st.integers(0, 2)
SEQUENCE = st.lists(TOKEN, max_size=40).map(lambda tokens: array("i", tokens))


@given(SEQUENCE, SEQUENCE)
def test_the_common_prefix_is_the_naive_one(a: array[int], b: array[int]) -> None:
    assert common_prefix_tokens(a.tobytes(), b.tobytes()) == naive(a, b)


@given(st.integers(0, 9000), st.integers(0, 3000), st.integers(-(2**31), 2**31 - 1), st.integers(1, 2**31 - 1))
def test_long_sequences_that_part_anywhere(shared: int, rest: int, token: int, other: int) -> None:
    head = array("i", [token]) * shared
    a = head + array("i", [1]) * rest
    b = head + array("i", [0, other])
    assert common_prefix_tokens(a.tobytes(), b.tobytes()) == naive(a, b)


@pytest.mark.parametrize("at", [0, 1, 1023, 1024, 1025, 3071, 3072, 3073, 7167, 7168, 9999])
def test_a_difference_at_the_edge_of_a_block(at: int) -> None:
    a = array("i", range(10_000))
    b = a[:]
    b[at] = -1
    assert common_prefix_tokens(a.tobytes(), b.tobytes()) == at


def test_ids_that_share_bytes_are_still_different() -> None:
    assert common_prefix_tokens(ids(0x00000001).tobytes(), ids(0x01000001).tobytes()) == 0


def test_nothing_came_before() -> None:
    assert Ledger().match("a", ids(1, 2)) == Match(0, 0, continuation=False)


def test_a_continuation_is_held_against_the_last_of_its_conversation() -> None:
    ledger = Ledger()
    ledger.add("a", ids(1, 2, 3, 4))
    ledger.add("a", ids(1, 2, 9))
    assert ledger.match("a", ids(1, 2, 3, 4, 5)) == Match(lcp_tokens=4, prev_tokens=3, continuation=True)


def test_another_conversation_can_match_better_than_the_own() -> None:
    ledger = Ledger()
    ledger.add("a", ids(1, 2))
    ledger.add("b", ids(7, 8, 9))
    assert ledger.match("a", ids(7, 8, 5)) == Match(lcp_tokens=2, prev_tokens=2, continuation=True)


def test_a_new_conversation_is_held_against_the_best_match() -> None:
    ledger = Ledger()
    ledger.add("a", ids(1, 2, 3, 4, 5))
    ledger.add("b", ids(1, 7, 7))
    assert ledger.match("c", ids(1, 2, 3)) == Match(lcp_tokens=3, prev_tokens=5, continuation=False)


def test_ties_go_to_the_latest() -> None:
    ledger = Ledger()
    ledger.add("a", ids(1, 2, 3))
    ledger.add("b", ids(1, 2, 4, 4, 4))
    assert ledger.match("c", ids(1, 2)) == Match(lcp_tokens=2, prev_tokens=5, continuation=False)


def test_a_new_epoch_forgets_sequences_and_conversations() -> None:
    ledger = Ledger()
    ledger.add("a", ids(1, 2))
    ledger.new_epoch()
    assert ledger.match("a", ids(1, 2)) == Match(0, 0, continuation=False)
    assert ledger.held_bytes == 0


def test_a_prompt_that_cannot_be_rendered_is_compared_with_nothing() -> None:
    ledger = Ledger()
    assert ledger.match("a", None) == Match(None, None, continuation=False)
    ledger.add("a", None)
    assert ledger.match("a", None) == Match(None, None, continuation=True)
    assert ledger.held_bytes == 0


def test_of_a_prompt_that_is_not_shown_the_length_alone_is_known() -> None:
    ledger = Ledger()
    ledger.add("a", None, length_tokens=120)
    assert ledger.match("a", None) == Match(None, 120, continuation=True)
    assert ledger.match("b", None) == Match(None, None, continuation=False)
    ledger.add("a", None)
    assert ledger.match("a", None) == Match(None, None, continuation=True), "the last one counts"
    ledger.new_epoch()
    assert ledger.match("a", None) == Match(None, None, continuation=False)


def test_the_length_of_a_sequence_that_is_known_is_its_own() -> None:
    ledger = Ledger()
    ledger.add("a", ids(1, 2, 3), length_tokens=7)
    assert ledger.match("a", None) == Match(None, 3, continuation=True)


def test_a_prompt_that_holds_a_whole_sequence_of_unknown_end_is_a_lower_bound() -> None:
    ledger = Ledger()
    ledger.add("a", ids(1, 2, 3), complete=False)
    assert ledger.match("a", ids(1, 2, 3, 4)).exact is False
    assert ledger.match("a", ids(1, 2, 9)).exact is True


def test_an_append_only_conversation_costs_one_sequence() -> None:
    ledger = Ledger()
    for length in range(1, 200):
        ledger.add("a", array("i", range(length)))
    assert ledger.held_bytes == 199 * TOKEN_BYTES


HISTORY = st.lists(st.tuples(st.sampled_from("ab"), st.lists(TOKEN, max_size=6)), max_size=12)


@given(HISTORY, SEQUENCE)
def test_dropping_extended_sequences_never_changes_the_match(
    history: list[tuple[str, list[int]]], prompt: array[int]
) -> None:
    ledger = Ledger()
    for conversation, tokens in history:
        ledger.add(conversation, array("i", tokens))
    for conversation in "abc":
        own = [tokens for owner, tokens in history if owner == conversation]
        shared = [naive(prompt, array("i", tokens)) for _, tokens in history]
        match = ledger.match(conversation, prompt)
        assert match.lcp_tokens == max(shared, default=0)
        assert match.continuation == bool(own)
        if own:
            assert match.prev_tokens == len(own[-1])


@given(HISTORY, st.lists(TOKEN, max_size=6))
def test_what_was_added_last_is_matched_whole(history: list[tuple[str, list[int]]], tokens: list[int]) -> None:
    ledger = Ledger()
    for conversation, earlier in history:
        ledger.add(conversation, array("i", earlier))
    ledger.add("z", array("i", tokens))
    longer = array("i", [*tokens, 1])
    assert ledger.match("z", longer).lcp_tokens == max(
        len(tokens), *(naive(longer, array("i", earlier)) for _, earlier in history), 0
    )
