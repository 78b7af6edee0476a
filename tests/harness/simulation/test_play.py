"""Totals of a simulated cache, worked out by hand."""

from __future__ import annotations

from array import array
from itertools import count

import pytest

from backends.base import UnknownEngine
from harness.simulation.play import Limit, Totals, granularity_tokens, limits_of, play, simulate, totals_of
from harness.simulation.settings import options_of
from profiler.ledger import Match
from profiler.policies import Predicted, Sent, policy_names

_fresh = count(1_000_000)


def ids(length: int) -> array[int]:
    """Tokens that no other text holds."""
    return array("i", (next(_fresh) for _ in range(length)))


def conversation(turns: int, first: int = 1000, added: int = 100, reply: int = 20) -> list[Sent]:
    """One that only grows."""
    sents: list[Sent] = []
    prompt = ids(first)
    for _ in range(turns):
        answer = ids(reply)
        sents.append(Sent("main", prompt, answer))
        prompt = prompt + answer + ids(added)
    return sents


def test_a_growing_conversation_is_reused_to_its_last_generated_token() -> None:
    totals = simulate(conversation(3), "llama-server")
    assert totals == Totals(
        requests=3,
        prompt_tokens=1000 + 1120 + 1240,
        cached_tokens=1019 + 1139,
        reusable_tokens=1019 + 1139,
        hits=2,
        partial=0,
        full_misses=0,
        firsts=1,
        unknown=0,
    )
    assert totals.evaluated_tokens == 1000 + 101 + 101
    assert totals.reused_share == 1


def test_a_setting_changes_what_is_lost() -> None:
    """One slot, and a title between two turns: without the host cache nothing is left."""
    first, second = conversation(2)
    sents = [first, Sent("title", ids(60), ids(5)), second]
    with_cache = simulate(sents, "llama-server", options_of("llama-server", {"slots": "1"}))
    without = simulate(sents, "llama-server", options_of("llama-server", {"slots": "1", "cache_ram": "0"}))
    assert (with_cache.cached_tokens, with_cache.full_misses) == (1019, 0)
    assert (without.cached_tokens, without.full_misses, without.reused_share) == (0, 1, 0)


@pytest.mark.parametrize("engine", policy_names())
def test_every_policy_gives_totals_that_add_up(engine: str) -> None:
    totals = simulate(conversation(4), engine)
    assert totals.hits + totals.partial + totals.full_misses + totals.firsts == totals.requests == 4
    assert totals.cached_tokens is not None
    assert 0 <= totals.cached_tokens <= totals.prompt_tokens


def test_what_is_not_known_is_not_summed() -> None:
    """mlx_lm.server dies of a prompt that it holds to the last token: C is not known, and not 0."""
    prompt, reply = ids(50), ids(4)
    totals = simulate([Sent("a", prompt, reply), Sent("a", prompt + reply, ids(3))], "mlx-server")
    assert totals.unknown == 1
    assert totals.cached_tokens is None
    assert totals.evaluated_tokens is None
    assert totals.reused_share is None
    assert totals.full_misses == 0


def test_a_cached_count_above_the_prefix_is_still_known() -> None:
    """Chunks that llama-server shifts into place lie behind the common prefix."""
    limit = Limit(Match(2, 2, continuation=False), 2)
    totals = totals_of([(Sent("a", ids(1000), ids(1)), Predicted(500, "shifted"), limit)])
    assert totals.unknown == 0
    assert totals.cached_tokens == 500


def test_nothing_that_could_be_reused_has_no_share() -> None:
    assert simulate([Sent("a", ids(10), ids(1))], "llama-server").reused_share is None
    assert simulate([], "llama-server").requests == 0


def test_limits_are_those_of_a_cache_that_forgets_nothing() -> None:
    first, second = conversation(2)
    limits = limits_of([first, Sent("other", ids(10), ids(2)), second])
    assert [limit.reusable_tokens for limit in limits] == [0, 0, 1019]
    assert limits[2].match.prev_tokens == 1020


@pytest.mark.parametrize(
    ("engine", "options", "step"),
    [
        ("llama-server", {}, 1),
        ("llama-server", {"cache_kind": "recurrent", "ubatch": "256"}, 260),
        ("llama-server", {"cache_kind": "sliding_window", "window": "128", "swa_full": "on"}, 1),
        ("vllm", {"block_size": "32"}, 32),
        ("sglang", {"page_size": "64"}, 64),
        ("mlx", {}, 1),
    ],
)
def test_the_step_is_the_engines(engine: str, options: dict[str, str], step: int) -> None:
    assert granularity_tokens(engine, options_of(engine, options)) == step


def test_an_engine_without_a_policy_is_refused() -> None:
    with pytest.raises(UnknownEngine):
        simulate(conversation(1), "ollama")
    with pytest.raises(UnknownEngine):
        play([], "nothing", options_of("llama-server", {}))
