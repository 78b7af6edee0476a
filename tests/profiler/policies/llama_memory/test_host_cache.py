"""What llama-server's host cache keeps, finds and drops."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from profiler.policies.llama_memory.host_cache import Entry, HostCache

NOTHING_SAVED = np.empty(0, np.int64)


def tokens(*ids: int) -> bytes:
    return array("i", ids).tobytes()


def entry(*ids: int, size_bytes: int = 0) -> Entry:
    return Entry(tokens(*ids), (), NOTHING_SAVED, size_bytes)


def run(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))


def test_a_prompt_that_a_saved_one_begins_with_is_not_saved_again() -> None:
    cache = HostCache(0, 0)
    assert cache.save(entry(1, 2, 3))
    assert not cache.save(entry(1, 2))
    assert not cache.save(entry(1, 2, 3))
    assert len(cache) == 1


def test_a_longer_prompt_takes_the_place_of_what_it_begins_with() -> None:
    cache = HostCache(0, 0)
    cache.save(entry(1, 2))
    cache.save(entry(9))
    cache.save(entry(1, 2, 3))
    assert len(cache) == 2
    assert cache.better(b"", tokens(1, 2, 3, 4)) is not None


def test_the_oldest_make_room() -> None:
    cache = HostCache(10, 0)
    for first in (10, 20, 30):
        assert cache.save(entry(first, size_bytes=5))
    assert cache.better(b"", tokens(10)) is None
    assert cache.better(b"", tokens(20)) is not None


def test_what_is_larger_than_the_cache_drops_nobody() -> None:
    cache = HostCache(10, 0)
    cache.save(entry(1, size_bytes=8))
    assert not cache.save(entry(2, size_bytes=11))
    assert len(cache) == 1


def test_without_a_limit_of_bytes_the_tokens_are_limited() -> None:
    cache = HostCache(0, 100)
    for first in (1000, 2000, 3000):
        cache.save(entry(*run(first, 40)))
        cache.trim()
    assert len(cache) == 2
    assert cache.better(b"", tokens(*run(1000, 40))) is None


def test_the_limit_of_tokens_gives_way_to_room_in_bytes() -> None:
    cache = HostCache(1000, 100)
    for first in (1000, 2000, 3000):
        cache.save(entry(*run(first, 40), size_bytes=100))
        cache.trim()
    assert len(cache) == 3


@pytest.mark.parametrize(("shared", "found"), [(24, False), (25, True)])
def test_a_prompt_of_which_little_would_be_used_is_left_alone(shared: int, found: bool) -> None:
    cache = HostCache(0, 0)
    cache.save(entry(*run(1, 100)))
    wanted = tokens(*run(1, shared), *run(500, 10))
    assert (cache.better(b"", wanted) is not None) == found


def test_a_saved_prompt_has_to_be_better_in_both_shares() -> None:
    cache = HostCache(0, 0)
    cache.save(entry(*run(1, 60), *run(900, 60)))
    wanted = tokens(*run(1, 80))
    assert cache.better(tokens(*run(1, 50)), wanted) is None  # all of the held one would be kept, half of this one
    assert cache.better(tokens(*run(1, 20), *run(500, 40)), wanted) is not None


def test_what_moved_into_a_slot_is_gone() -> None:
    cache = HostCache(0, 0)
    cache.save(entry(1, 2, 3))
    found = cache.better(b"", tokens(1, 2, 3))
    assert found is not None
    cache.remove(found)
    assert len(cache) == 0
