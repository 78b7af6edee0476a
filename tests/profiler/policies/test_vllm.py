"""vLLM's block pool: its documented example, and what must hold for any requests. The real program is not run here."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.policies.base import Sent
from profiler.policies.vllm import Options, open_policy

BLOCK = 4
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


def test_the_example_of_the_design_page() -> None:
    """docs/design/prefix_caching: blocks of 4; requests that share 10 and 12 tokens with the first one.

    There the second request runs while the first one does, and ten blocks are there. Here it runs after it and takes a
    block that the first one left free, so nine do the same: the third request takes the tail of the first one.
    """
    policy = open_policy(Options(block_size=BLOCK, blocks=10))
    first, reply = fresh(0, 15), fresh(100, 4)
    assert policy.serve(sent(first, reply)).cached_tokens == 0
    assert policy.serve(sent(first[:10] + fresh(200, 4), [1])).cached_tokens == 8
    assert policy.serve(sent(first[:12] + fresh(300, 17), [1])).cached_tokens == 12
    assert policy.serve(sent([*first, *reply], [1])).cached_tokens == 12


def test_the_last_token_is_evaluated_again_and_its_block_with_it() -> None:
    policy = open_policy(Options(block_size=BLOCK))
    policy.serve(sent(fresh(0, 8), [9]))
    assert policy.serve(sent(fresh(0, 8), [9])).cached_tokens == 4
    assert policy.serve(sent(fresh(0, 9), [9])).cached_tokens == 8


def test_the_last_generated_token_is_in_no_block() -> None:
    policy = open_policy(Options(block_size=BLOCK))
    policy.serve(sent(fresh(0, 6), [6, 7]))
    assert policy.serve(sent(fresh(0, 12), [1])).cached_tokens == 4
    policy.serve(sent(fresh(50, 6), [56, 57, 58]))
    assert policy.serve(sent(fresh(50, 12), [1])).cached_tokens == 8


def test_the_tail_of_a_sequence_goes_before_its_head() -> None:
    policy = open_policy(Options(block_size=BLOCK, blocks=5))
    policy.serve(sent(fresh(0, 12), [1]))
    policy.serve(sent(fresh(100, 8), [1]))
    assert policy.serve(sent(fresh(0, 12), [1])).cached_tokens == 8


def test_what_does_not_fit_cannot_be_told() -> None:
    policy = open_policy(Options(block_size=BLOCK, blocks=4))
    assert policy.serve(sent(fresh(0, 13), [1])).cached_tokens is None
    assert policy.serve(sent(fresh(0, 12), [1])).cached_tokens == 0
    assert open_policy(Options(ctx=8)).serve(sent(fresh(0, 8), [1])).cached_tokens is None


@pytest.mark.parametrize("options", [Options(caching=False), Options(cache_kind="recurrent")])
def test_without_caching_and_where_it_is_not_modelled(options: Options) -> None:
    policy = open_policy(options)
    policy.serve(sent(fresh(0, 99), [1]))
    assert policy.serve(sent(fresh(0, 99), [1])).cached_tokens == (None if options.caching else 0)


@given(requests)
def test_an_unbounded_pool_gives_every_full_block_of_the_longest_prefix(
    asked: list[tuple[list[int], list[int]]],
) -> None:
    policy = open_policy(Options(block_size=BLOCK))
    held: list[list[int]] = []
    for prompt, generated in asked:
        longest = max((lcp(prompt, old) for old in held), default=0)
        wanted = min(longest, len(prompt) - 1) // BLOCK * BLOCK
        assert policy.serve(sent(prompt, generated)).cached_tokens == wanted
        held.append(prompt + generated[:-1])


@given(requests, st.integers(2, 14))
def test_any_pool_gives_whole_blocks_and_never_more_than_was_sent(
    asked: list[tuple[list[int], list[int]]], blocks: int
) -> None:
    policy = open_policy(Options(block_size=BLOCK, blocks=blocks))
    held: list[list[int]] = []
    for prompt, generated in asked:
        cached = policy.serve(sent(prompt, generated)).cached_tokens
        needed = -(-len(prompt + generated[:-1]) // BLOCK)
        assert (cached is None) == (needed > blocks - 1)
        if cached is None:
            continue
        assert cached % BLOCK == 0
        assert cached < len(prompt)
        assert cached <= max((lcp(prompt, old) for old in held), default=0)
        held.append(prompt + generated[:-1])


@given(requests)
def test_a_pool_that_nothing_overflows_is_an_unbounded_one(asked: list[tuple[list[int], list[int]]]) -> None:
    blocks = 1 + sum(-(-len(prompt + generated) // BLOCK) for prompt, generated in asked)
    bounded, unbounded = open_policy(Options(block_size=BLOCK, blocks=blocks)), open_policy(Options(block_size=BLOCK))
    for prompt, generated in asked:
        assert bounded.serve(sent(prompt, generated)) == unbounded.serve(sent(prompt, generated))
