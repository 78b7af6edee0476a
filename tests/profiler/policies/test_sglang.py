"""SGLang's radix tree: its own example, and what must hold for any requests. The real program is not run here."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.policies.base import Sent
from profiler.policies.sglang import Options, open_policy

PAGE = 4
requests = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1), min_size=1, max_size=24), st.lists(st.integers(0, 1), min_size=1, max_size=9)
    ),
    min_size=1,
    max_size=12,
)


def sent(prompt: list[int], generated: list[int]) -> Sent:
    return Sent("c", array("i", prompt), array("i", generated))


def lcp(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def fresh(start: int, count: int) -> list[int]:
    return list(range(start, start + count))


def letters(text: str) -> list[int]:
    return list(map(ord, text))


def test_the_example_of_the_source() -> None:
    """The sequences of `radix_cache.py`'s own example, and what it finds of another one."""
    policy = open_policy(Options())
    for text in ("Hello", "Hello", "Hello_L.A.!", "Hello_world! Happy", "I love you!"):
        policy.serve(sent(letters(text), [0]))
    assert policy.serve(sent(letters("I love you! aha"), [0])).cached_tokens == 11
    assert policy.serve(sent(letters("Hello_w"), [0])).cached_tokens == 6
    assert policy.serve(sent(letters("Hell"), [0])).cached_tokens == 3


def test_whole_pages_only() -> None:
    policy = open_policy(Options(page_size=PAGE))
    policy.serve(sent(fresh(0, 10), [1]))
    assert policy.serve(sent(fresh(0, 12), [1])).cached_tokens == 8
    assert policy.serve(sent(fresh(0, 8), [1])).cached_tokens == 4


def test_the_reply_is_held_but_for_its_last_token() -> None:
    policy = open_policy(Options())
    policy.serve(sent(fresh(0, 6), [6, 7, 8]))
    assert policy.serve(sent(fresh(0, 12), [1])).cached_tokens == 8


def test_the_least_recently_used_leaf_goes_whole() -> None:
    policy = open_policy(Options(max_total_tokens=30))
    policy.serve(sent(fresh(0, 10), [0]))
    policy.serve(sent(fresh(100, 10), [0]))
    assert policy.serve(sent(fresh(0, 10), [0])).cached_tokens == 9
    # Eleven more tokens than there is room for: of the two leaves, the one not used since goes, all ten of it.
    policy.serve(sent(fresh(200, 11), [0]))
    assert policy.serve(sent(fresh(0, 10), [0])).cached_tokens == 9
    assert policy.serve(sent(fresh(100, 10), [0])).cached_tokens == 0


def test_a_shared_head_outlives_its_branches() -> None:
    policy = open_policy(Options(max_total_tokens=30))
    policy.serve(sent(fresh(0, 10) + fresh(100, 5), [0]))
    policy.serve(sent(fresh(0, 10) + fresh(200, 5), [0]))
    policy.serve(sent(fresh(300, 12), [0]))
    assert policy.serve(sent(fresh(0, 10) + fresh(100, 5), [0])).cached_tokens == 10


def test_what_does_not_fit_cannot_be_told() -> None:
    policy = open_policy(Options(max_total_tokens=12))
    assert policy.serve(sent(fresh(0, 13), [1])).cached_tokens is None
    assert policy.serve(sent(fresh(0, 12), [1])).cached_tokens == 0
    assert open_policy(Options(ctx=8)).serve(sent(fresh(0, 8), [1])).cached_tokens is None


@pytest.mark.parametrize("options", [Options(radix_cache=False), Options(cache_kind="sliding_window")])
def test_without_a_tree_and_where_it_is_not_modelled(options: Options) -> None:
    policy = open_policy(options)
    policy.serve(sent(fresh(0, 99), [1]))
    assert policy.serve(sent(fresh(0, 99), [1])).cached_tokens == (None if options.radix_cache else 0)


@given(requests, st.sampled_from([1, 3, 4]))
def test_an_unbounded_tree_gives_every_page_of_the_longest_prefix(
    asked: list[tuple[list[int], list[int]]], page: int
) -> None:
    policy = open_policy(Options(page_size=page))
    held: list[list[int]] = []
    for prompt, generated in asked:
        longest = max((lcp(prompt, old) for old in held), default=0)
        assert policy.serve(sent(prompt, generated)).cached_tokens == min(longest, len(prompt) - 1) // page * page
        held.append(prompt + generated[:-1])


@given(requests, st.integers(1, 60), st.sampled_from([1, 3, 4]))
def test_any_tree_gives_whole_pages_and_never_more_than_was_sent(
    asked: list[tuple[list[int], list[int]]], tokens: int, page: int
) -> None:
    policy = open_policy(Options(page_size=page, max_total_tokens=tokens))
    held: list[list[int]] = []
    for prompt, generated in asked:
        cached = policy.serve(sent(prompt, generated)).cached_tokens
        needed = -(-len(prompt + generated[:-1]) // page)
        assert (cached is None) == (needed > tokens // page)
        if cached is None:
            continue
        assert cached % page == 0
        assert cached < len(prompt)
        assert cached <= max((lcp(prompt, old) for old in held), default=0)
        held.append(prompt + generated[:-1])


@given(requests)
def test_a_tree_that_nothing_overflows_is_an_unbounded_one(asked: list[tuple[list[int], list[int]]]) -> None:
    tokens = sum(len(prompt + generated) for prompt, generated in asked)
    bounded, unbounded = open_policy(Options(max_total_tokens=tokens)), open_policy(Options())
    for prompt, generated in asked:
        assert bounded.serve(sent(prompt, generated)) == unbounded.serve(sent(prompt, generated))
