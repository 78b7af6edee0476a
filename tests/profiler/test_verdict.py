"""Every class at its boundary, every loss worked out by hand, and what is not known is never a miss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backends.base import Evidence
from profiler.ledger import Match
from profiler.records import CacheVerdict
from profiler.verdict import floor_tokens, judge


def evidence(prompt: int | None, cached: int | None, **further: Any) -> Evidence:
    return Evidence(
        prompt, cached, sources={"cached_tokens": "timings.cache_n"} if cached is not None else {}, **further
    )


def verdict(
    prompt: int | None,
    cached: int | None,
    lcp: int | None,
    prev: int | None,
    *,
    continuation: bool = True,
    granularity: int | None = 1,
    prefill_ns: int | None = None,
    lcp_exact: bool = True,
) -> CacheVerdict:
    return judge(
        Match(lcp, prev, continuation, exact=lcp_exact),
        evidence(prompt, cached),
        granularity_tokens=granularity,
        prefill_ns=prefill_ns,
    )


def test_the_floor_is_sixteen_tokens_or_two_percent() -> None:
    assert [floor_tokens(p) for p in (1, 800, 850, 1000, 10_000)] == [16, 16, 17, 20, 200]


@pytest.mark.parametrize(
    ("prompt", "cached", "lcp", "prev", "expected", "prompt_side", "engine_side"),
    [
        # P     C    L    prev  class, lost by text, lost by engine
        pytest.param(500, 400, 400, 400, "hit", 0, 0, id="all of it"),
        pytest.param(500, 399, 400, 400, "hit", 0, 0, id="all but the last token that was sampled"),
        pytest.param(500, 398, 400, 400, "partial", 0, 2, id="one token beyond the tolerance"),
        pytest.param(400, 399, 400, 400, "hit", 0, 0, id="an identical repeat: P - 1 can be cached"),
        pytest.param(300, 299, 300, 400, "partial", 100, 0, id="a prompt cut short: the text changed"),
        pytest.param(500, 392, 392, 400, "hit", 0, 0, id="end of turn differs by eight"),
        pytest.param(500, 391, 391, 400, "partial", 9, 0, id="end of turn differs by nine"),
        pytest.param(500, 16, 400, 400, "full_miss", 0, 384, id="at the floor"),
        pytest.param(500, 17, 400, 400, "partial", 0, 383, id="one above the floor"),
        pytest.param(2000, 40, 1500, 1500, "full_miss", 0, 1460, id="at two percent"),
        pytest.param(2000, 41, 1500, 1500, "partial", 0, 1459, id="one above two percent"),
        pytest.param(500, 0, 0, 400, "full_miss", 400, 0, id="text changed from the first token on"),
        pytest.param(500, 0, 16, 400, "full_miss", 384, 0, id="a shared template head is no engine's loss"),
        pytest.param(500, 0, 17, 400, "full_miss", 383, 17, id="both sides, one token above the head"),
        pytest.param(500, 100, 250, 400, "partial", 150, 150, id="both sides"),
        pytest.param(120, 60, 60, 400, "partial", 340, 0, id="compacted: shorter than what came before"),
    ],
)
def test_continuations(
    prompt: int, cached: int, lcp: int, prev: int, expected: str, prompt_side: int, engine_side: int
) -> None:
    got = verdict(prompt, cached, lcp, prev)
    assert got.cache_class == expected
    assert got.lost_prompt_side_tokens == prompt_side
    assert got.lost_engine_side_tokens == engine_side
    assert got.confidence == "observed"
    assert got.cached_source == "timings.cache_n"


@pytest.mark.parametrize(
    ("cached", "expected"), [(400 - 64, "hit"), (400 - 65, "partial"), (399, "hit"), (10, "full_miss")]
)
def test_granularity_widens_the_hit_and_not_the_loss(cached: int, expected: str) -> None:
    got = verdict(500, cached, 400, 400, granularity=64)
    assert got.cache_class == expected
    assert got.lost_engine_side_tokens == (0 if cached == 399 else 400 - cached)


def test_unknown_granularity_is_judged_as_one_token_and_only_inferred() -> None:
    assert verdict(500, 398, 400, 400, granularity=None).cache_class == "partial"
    assert verdict(500, 399, 400, 400, granularity=None).confidence == "inferred"


def test_an_incomplete_ledger_lowers_the_confidence() -> None:
    assert verdict(500, 399, 400, 400, lcp_exact=False).confidence == "inferred"


@pytest.mark.parametrize(
    ("lcp", "cached", "expected"),
    [(0, 0, "cold"), (16, 16, "cold"), (17, 16, "branch"), (0, 17, "unknown"), (300, 0, "branch")],
)
def test_the_first_request_of_a_conversation(lcp: int, cached: int, expected: str) -> None:
    got = verdict(500, cached, lcp, lcp, continuation=False)
    assert got.cache_class == expected
    assert not got.continuation


def test_a_cold_request_loses_nothing() -> None:
    got = verdict(500, 0, 0, 0, continuation=False, prefill_ns=1_000)
    assert (got.lost_prompt_side_tokens, got.lost_engine_side_tokens, got.lost_ns) == (0, 0, 0)


def test_a_branch_can_lose_on_the_engine_side_alone() -> None:
    got = verdict(500, 0, 300, 1000, continuation=False, prefill_ns=500)
    assert (got.lost_prompt_side_tokens, got.lost_engine_side_tokens) == (0, 300)
    assert (got.lost_prompt_side_ns, got.lost_engine_side_ns) == (0, 300)


def test_an_engine_that_was_warm_before_the_run_is_named() -> None:
    got = verdict(500, 499, 0, 0, continuation=False)
    assert got.cache_class == "unknown"
    assert got.note is not None
    assert "499 tokens were cached before this run" in got.note
    assert "--cold" in got.note
    assert got.lost_ns is None


def test_more_cached_than_our_own_sequences_explain_is_a_note() -> None:
    got = verdict(500, 450, 400, 400)
    assert got.cache_class == "hit"
    assert got.confidence == "inferred"
    assert got.note == "the engine reused 50 tokens more than this run's own sequences explain"


@pytest.mark.parametrize(
    ("prompt", "cached", "lcp", "prev"), [(500, None, 400, 400), (None, 100, 400, 400), (500, 100, None, None)]
)
@pytest.mark.parametrize("continuation", [True, False])
def test_what_is_not_reported_is_unknown(
    prompt: int | None, cached: int | None, lcp: int | None, prev: int | None, continuation: bool
) -> None:
    got = verdict(prompt, cached, lcp, prev, continuation=continuation)
    assert got.cache_class == got.confidence == "unknown"
    assert got.note == "not reported"
    assert got.lost_prompt_side_tokens is None
    assert got.lost_engine_side_tokens is None
    assert got.lost_ns is None


def test_figures_that_contradict_each_other_are_not_used() -> None:
    got = judge(Match(400, 400, True), evidence(500, 0, conflict="they disagree"))
    assert got.cache_class == "unknown"
    assert got.cached_tokens is None
    assert got.cached_source is None
    assert got.note == "they disagree"


@pytest.mark.parametrize(
    ("prompt", "cached", "lcp", "prev", "prompt_ns", "engine_ns"),
    [
        # 400 evaluated tokens took 800 ns
        pytest.param(500, 100, 250, 400, 300, 300, id="150 and 150 of 400"),
        pytest.param(500, 100, 400, 400, 0, 600, id="300 of 400"),
        pytest.param(500, 100, 100, 400, 600, 0, id="300 of 400 by text"),
        # of the 440 tokens that changed at most 499 - 100 can have been in this prompt
        pytest.param(500, 100, 100, 540, 798, 0, id="never more than the prompt has"),
        pytest.param(500, 100, 101, 101, 0, 0, id="a loss within the tolerance is free"),
    ],
)
def test_lost_tokens_are_charged_their_share_of_the_prefill(
    prompt: int, cached: int, lcp: int, prev: int, prompt_ns: int, engine_ns: int
) -> None:
    got = verdict(prompt, cached, lcp, prev, prefill_ns=800)
    assert (got.lost_prompt_side_ns, got.lost_engine_side_ns) == (prompt_ns, engine_ns)
    assert got.lost_ns == prompt_ns + engine_ns


def test_a_compaction_is_charged_for_what_is_left_of_the_prompt() -> None:
    got = verdict(120, 60, 60, 400, prefill_ns=600)
    assert got.lost_prompt_side_tokens == 340
    assert got.lost_prompt_side_ns == round(600 * 59 / 60)


def test_a_loss_has_no_price_where_the_prefill_time_is_not_known() -> None:
    got = verdict(500, 100, 400, 400)
    assert got.lost_engine_side_tokens == 300
    assert got.lost_engine_side_ns is None
    assert got.lost_ns is None
    assert verdict(500, 400, 400, 400).lost_ns == 0


COUNT = st.integers(0, 5000)
MAYBE = st.none() | COUNT
CALL = {
    "lcp": MAYBE,
    "prev": MAYBE,
    "continuation": st.booleans(),
    "granularity": st.none() | st.integers(1, 600),
    "prefill_ns": MAYBE,
    "lcp_exact": st.booleans(),
}


@given(prompt=MAYBE, **CALL)
def test_not_reported_is_never_a_miss(prompt: int | None, **call: Any) -> None:
    got = verdict(prompt, None, **call)
    assert got.cache_class == "unknown"
    assert got.lost_ns is None


@given(prompt=st.integers(1, 5000), cached=COUNT, **CALL)
def test_losses_are_never_negative_nor_dearer_than_the_prefill(prompt: int, cached: int, **call: Any) -> None:
    assume(cached < prompt)
    got = verdict(prompt, cached, **call)
    tokens = (got.lost_prompt_side_tokens, got.lost_engine_side_tokens)
    prices = (got.lost_prompt_side_ns, got.lost_engine_side_ns)
    assert all(value is None or value >= 0 for value in (*tokens, *prices))
    if got.lost_ns is not None and call["prefill_ns"] is not None and call["lcp"] >= cached:
        assert got.lost_ns <= call["prefill_ns"] + 1  # each side is rounded
    assert (got.cache_class == "unknown") == (tokens == (None, None))


@given(prompt=st.integers(1, 5000), cached=COUNT, **CALL)
def test_only_continuations_hit_or_miss(prompt: int, cached: int, **call: Any) -> None:
    got = verdict(prompt, cached, **call)
    assert (got.cache_class in ("hit", "partial", "full_miss")) <= call["continuation"]
    assert (got.cache_class in ("cold", "branch")) <= (not call["continuation"])
