"""The caches of mlx_lm.server and of dyno's `mlx`: rule by rule, then beside the library's own prompt cache."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.ledger import TOKEN_BYTES
from profiler.policies import mlx, mlx_server
from profiler.policies.base import Message, Sent
from profiler.policies.mlx_server import Stored

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=7)
kinds = st.sampled_from(["assistant", "user", "system"])


def sent(prompt: list[int], generated: list[int], *messages: Message) -> Sent:
    return Sent("c", array("i", prompt), array("i", generated), messages=messages)


def fresh(start: int, count: int) -> list[int]:
    return list(range(start, start + count))


def chat(length: int) -> tuple[Message, ...]:
    """A system prompt of 10 tokens, and one user message up to the end."""
    assert length > 20
    return Message("system", 0), Message("user", 10)


HYBRID = mlx_server.Options(cache_kind="recurrent")


def test_an_append_is_reused_whole_and_a_change_from_there_on() -> None:
    policy = mlx_server.open_policy(mlx_server.Options())
    assert policy.serve(sent(fresh(0, 30), [900, 901])).cached_tokens == 0
    assert policy.serve(sent([*fresh(0, 30), 900, 901, 7], [1])).cached_tokens == 32
    assert policy.serve(sent([*fresh(0, 20), 555], [1])).cached_tokens == 20
    assert policy.serve(sent(fresh(0, 30), [1])).cached_tokens == 29


def test_a_state_that_cannot_be_cut_back_is_reused_at_its_snapshots_alone() -> None:
    policy = mlx_server.open_policy(HYBRID)
    policy.serve(sent(fresh(0, 30), [900], *chat(30)))
    assert policy.stored.lengths() == [(13, "system"), (29, "user"), (31, "assistant")]
    assert policy.serve(sent([*fresh(0, 13), *fresh(500, 20)], [1], *chat(33))).cached_tokens == 13
    assert policy.serve(sent([*fresh(0, 30), 777, 778], [1])).cached_tokens == 29
    assert policy.serve(sent([*fresh(0, 12), *fresh(600, 20)], [1], *chat(32))).cached_tokens == 0


def test_a_tools_answer_makes_no_segments() -> None:
    policy = mlx_server.open_policy(HYBRID)
    policy.serve(sent(fresh(0, 30), [900], *chat(30), Message("user", 20, sent_as="tool")))
    assert policy.stored.lengths() == [(29, "assistant"), (31, "assistant")]


def test_the_sequential_path_stores_no_snapshots() -> None:
    for options in (
        mlx_server.Options(cache_kind="recurrent", sequential=True),
        mlx_server.Options(cache_kind="recurrent", kv_bits=8),
    ):
        policy = mlx_server.open_policy(options)
        policy.serve(sent(fresh(0, 30), [900], *chat(30)))
        assert policy.stored.lengths() == [(31, "assistant")]
        assert policy.serve(sent([*fresh(0, 30), 900, 5], [1])).cached_tokens == 31
        assert policy.serve(sent([*fresh(0, 30), 777], [1])).cached_tokens == 0


def test_a_window_can_be_cut_back_while_it_is_not_full() -> None:
    policy = mlx_server.open_policy(mlx_server.Options(cache_kind="sliding_window", window=32, sequential=True))
    policy.serve(sent(fresh(0, 30), [900]))
    assert policy.serve(sent([*fresh(0, 25), 555], [1])).cached_tokens == 25
    policy.serve(sent(fresh(100, 31), [900]))
    assert policy.serve(sent([*fresh(100, 25), 555], [1])).cached_tokens == 0


def test_the_eleventh_conversation_drives_out_the_first() -> None:
    policy = mlx_server.open_policy(mlx_server.Options())
    for number in range(11):
        policy.serve(sent(fresh(number * 100, 30), [1]))
    assert len(policy.stored.lengths()) == 10
    assert policy.serve(sent(fresh(0, 31), [1])).cached_tokens == 0
    assert policy.serve(sent(fresh(1000, 31), [1])).cached_tokens == 30


def test_refused_and_not_served() -> None:
    policy = mlx_server.open_policy(mlx_server.Options(ctx=30))
    assert policy.serve(sent(fresh(0, 30), [1])).cached_tokens is None
    assert policy.stored.lengths() == []
    policy = mlx_server.open_policy(mlx_server.Options())
    policy.serve(sent(fresh(0, 30), [30]))
    assert policy.serve(sent(fresh(0, 31), [1])).cached_tokens is None


def test_one_live_cache() -> None:
    policy = mlx.open_policy(mlx.Options(ctx=64))
    assert policy.serve(sent(fresh(0, 30), [30])).cached_tokens == 0
    assert policy.serve(sent(fresh(0, 32), [1])).cached_tokens == 31
    assert policy.serve(sent([*fresh(0, 20), 555], [1])).cached_tokens == 20
    assert policy.serve(sent(fresh(900, 9), [1])).cached_tokens == 0
    assert policy.serve(sent(fresh(0, 64), [1])).cached_tokens is None
    assert policy.serve(sent(fresh(900, 9), [1])).cached_tokens == 8


def test_one_live_state_is_of_use_for_appends_alone() -> None:
    policy = mlx.open_policy(mlx.Options(cache_kind="recurrent"))
    policy.serve(sent(fresh(0, 30), [30]))
    assert policy.serve(sent(fresh(0, 32), [32])).cached_tokens == 31
    assert policy.serve(sent(fresh(0, 32), [32])).cached_tokens == 0


def test_a_request_without_cache_empties_it() -> None:
    policy = mlx.open_policy(mlx.Options())
    policy.serve(sent(fresh(0, 30), [30]))
    assert policy.serve(Sent("c", array("i", fresh(0, 32)), array("i", [1]), cache_prompt=False)).cached_tokens == 0


class Trimmable:
    """A layer's cache as the library's `LRUPromptCache` sees one: it can be cut back, or not."""

    nbytes = 1

    def __init__(self, able: bool) -> None:
        self._able = able

    def is_trimmable(self) -> bool:
        return self._able

    def trim(self, count: int) -> int:
        return count


@pytest.fixture(scope="module")
def library() -> Any:
    return pytest.importorskip("mlx_lm.models.cache", reason="mlx-lm is not installed: pip install 'llmdyno[mlx]'")


@given(st.lists(st.tuples(tokens, kinds, st.booleans(), tokens), max_size=14), st.integers(1, 4))
def test_it_stores_and_finds_what_the_library_does(
    library: Any, steps: list[tuple[list[int], Any, bool, list[int]]], size: int
) -> None:
    """The same entries, insertions and look-ups; equal counts of tokens to evaluate, for caches of one kind each."""
    for able in (True, False):
        theirs, ours = library.LRUPromptCache(size), Stored(size)
        for key, kind, _, prompt in steps:
            theirs.insert_cache("m", key, [Trimmable(able)], cache_type=kind)
            ours.add(array("i", key).tobytes(), kind, drop_prefixes=able)
            assert len(theirs) == len(ours.lengths())
            _, rest = theirs.fetch_nearest_cache("m", prompt)
            assert len(prompt) - len(rest) == found(ours, prompt, able)


def found(stored: Stored, prompt: list[int], able: bool) -> int:
    exact, shorter, longer, shared = stored.search(array("i", prompt).tobytes())
    if exact:
        return len(prompt)
    if longer is not None and shared > shorter and able:
        return min(len(prompt) - 1, shared)
    return shorter


def test_tokens_are_four_bytes() -> None:
    assert TOKEN_BYTES == 4
