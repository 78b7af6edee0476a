"""The cache that forgets nothing is an upper limit for every engine's."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.policies import load
from profiler.policies.base import Sent
from profiler.policies.infinite import Options, open_policy

TOKENS = st.lists(st.integers(0, 1), min_size=1, max_size=30).map(lambda ids: array("i", ids))
REQUESTS = st.lists(st.tuples(st.sampled_from("abc"), TOKENS, TOKENS), max_size=12)


def test_every_sequence_stays() -> None:
    cache = open_policy(Options())
    for first in (0, 100, 200):
        cache.serve(Sent(f"c{first}", array("i", range(first, first + 50)), array("i", [first + 50, 7])))
    assert cache.serve(Sent("c0", array("i", range(60)), array("i", [1]))).cached_tokens == 51


def test_the_last_token_of_a_repeat_is_evaluated() -> None:
    cache, prompt = open_policy(Options()), array("i", range(50))
    cache.serve(Sent("c", prompt, array("i", [1])))
    assert cache.serve(Sent("c", prompt, array("i", [1]))).cached_tokens == 49


def test_a_request_that_forbids_reuse() -> None:
    cache, prompt = open_policy(Options()), array("i", range(50))
    cache.serve(Sent("c", prompt, array("i", [1])))
    assert cache.serve(Sent("c", prompt, array("i", [1]), cache_prompt=False)).cached_tokens == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"slots": 1, "cache_ram": 0},
        {"slots": 2, "kv_unified": False, "slot_prompt_similarity": 0.5},
        {"cache_kind": "recurrent", "ubatch": 4, "batch": 8, "ctx_checkpoints": 2, "checkpoint_min_step": 3},
        {"cache_kind": "sliding_window", "window": 5, "ubatch": 4, "batch": 8, "slots": 2, "kv_unified": True},
    ],
)
@settings(max_examples=30)
@given(REQUESTS)
def test_no_server_reuses_more(options: dict[str, object], requests: list[tuple[str, array[int], array[int]]]) -> None:
    module = load("llama-server")
    server, limit = module.open_policy(module.Options(**options)), open_policy(Options())
    for request in requests:
        predicted = server.serve(Sent(*request)).cached_tokens
        assert 0 <= predicted <= (limit.serve(Sent(*request)).cached_tokens or 0)
