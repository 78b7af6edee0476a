"""Every class at its boundary, every loss worked out by hand, and what is not known is never a miss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backends.base import Evidence
from profiler.inversion import Interval
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
    ("prompt", "cached", "lcp", "prev"), [(500, None, 400, 400), (None, 100, 400, 400), (500, None, None, None)]
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


@pytest.mark.parametrize(
    ("prompt", "cached", "prev", "expected", "lost"),
    [
        # P     C    prev  class, lost of the history on whichever side
        pytest.param(500, 400, 400, "hit", 0, id="all of it"),
        pytest.param(500, 391, 400, "hit", 0, id="an end of turn and the last token"),
        pytest.param(500, 390, 400, "hit", 10, id="and the step of one token"),
        pytest.param(500, 389, 400, "partial", 11, id="one token more"),
        pytest.param(500, 450, 400, "hit", 0, id="more than the history"),
        pytest.param(500, 16, 400, "full_miss", 384, id="at the floor"),
        pytest.param(500, 17, 400, "partial", 383, id="one above the floor"),
        pytest.param(2000, 40, 1500, "full_miss", 1460, id="at two percent"),
        pytest.param(2000, 41, 1500, "partial", 1459, id="one above two percent"),
        pytest.param(500, 0, 17, "full_miss", 17, id="a history just above the floor"),
        pytest.param(500, 8, 16, "hit", 0, id="a history within the floor"),
        pytest.param(120, 60, 400, "partial", 59, id="compacted: what is left of the prompt"),
        pytest.param(120, 119, 400, "hit", 0, id="cut short: all that is left was reused"),
    ],
)
def test_without_prompts_a_continuation_is_judged_on_its_history(
    prompt: int, cached: int, prev: int, expected: str, lost: int
) -> None:
    got = verdict(prompt, cached, None, prev, prefill_ns=1000 * (prompt - cached))
    assert got.cache_class == expected
    assert (got.lost_prompt_side_tokens, got.lost_engine_side_tokens) == (None, None)
    assert got.lost_tokens == got.lost_unsplit_tokens == lost
    assert got.lost_ns == 1000 * lost
    assert got.confidence == "inferred"
    assert got.cached_source == "timings.cache_n"


def test_granularity_widens_the_hit_on_history_too() -> None:
    assert verdict(500, 400 - 9 - 64, None, 400, granularity=64).cache_class == "hit"
    assert verdict(500, 400 - 10 - 64, None, 400, granularity=64).cache_class == "partial"


@pytest.mark.parametrize(("cached", "expected", "lost"), [(0, "cold", 0), (16, "cold", 0), (17, "unknown", None)])
def test_without_prompts_a_first_request_is_cold_or_not_known(cached: int, expected: str, lost: int | None) -> None:
    got = verdict(500, cached, None, None, continuation=False)
    assert got.cache_class == expected
    assert got.lost_tokens == lost


def test_a_continuation_of_unknown_length_is_not_judged() -> None:
    got = verdict(500, 100, None, None)
    assert (got.cache_class, got.cached_tokens) == ("unknown", 100)
    assert got.note == "the length of the request before is not known"


def inferred(
    prompt: int, low: int, high: int, lcp: int | None, prev: int | None, *, continuation: bool = True
) -> CacheVerdict:
    match = Match(lcp, prev, continuation)
    return judge(match, evidence(prompt, None), prefill_ns=1000, inferred=Interval(low, high))


@pytest.mark.parametrize(
    ("prompt", "low", "high", "lcp", "prev", "expected", "lost"),
    [
        pytest.param(500, 395, 499, None, 400, "hit", 0, id="both ends hit"),
        pytest.param(500, 300, 340, None, 400, "partial", None, id="both ends partial: how much is not known"),
        pytest.param(500, 0, 16, None, 400, "full_miss", None, id="both ends in the floor"),
        pytest.param(500, 0, 17, None, 400, "unknown", None, id="full or partial"),
        pytest.param(500, 380, 420, None, 400, "unknown", None, id="partial or hit"),
        pytest.param(500, 399, 420, 400, 400, "hit", 0, id="prompts shown: both ends hit"),
        pytest.param(500, 390, 420, 400, 400, "unknown", None, id="prompts shown: partial or hit"),
    ],
)
def test_a_class_is_inferred_only_where_both_ends_agree(
    prompt: int, low: int, high: int, lcp: int | None, prev: int, expected: str, lost: int | None
) -> None:
    got = inferred(prompt, low, high, lcp, prev)
    assert got.cache_class == expected
    assert got.lost_tokens == lost
    assert (got.cached_tokens, got.cached_source) == (None, "ttft_inferred")
    assert got.cached_bounds_tokens == (low, high)
    assert got.confidence == ("unknown" if expected == "unknown" else "inferred")
    assert f"between {low} and {high} tokens were cached" in (got.note or "")


def test_what_does_not_depend_on_the_cache_is_kept() -> None:
    got = inferred(500, 0, 10, 250, 400)
    assert got.cache_class == "full_miss"
    assert (got.lost_prompt_side_tokens, got.lost_engine_side_tokens) == (150, None)
    assert got.lost_ns is None


@pytest.mark.parametrize(("low", "high", "expected"), [(0, 16, "cold"), (0, 17, "unknown"), (100, 200, "unknown")])
def test_a_first_request_is_inferred_to_be_cold_or_not_known(low: int, high: int, expected: str) -> None:
    for lcp in (None, 0):
        assert inferred(500, low, high, lcp, lcp, continuation=False).cache_class == expected


def test_what_the_engine_says_always_wins() -> None:
    match = Match(400, 400, True)
    assert judge(match, evidence(500, 399), inferred=Interval(0, 10)) == judge(match, evidence(500, 399))
    conflict = evidence(500, None, conflict="they disagree")
    assert judge(match, conflict, inferred=Interval(0, 10)).note == "they disagree"


def test_why_nothing_was_inferred_is_said() -> None:
    got = judge(Match(400, 400, True), evidence(500, None), inferred="too noisy")
    assert (got.cache_class, got.note) == ("unknown", "not reported (too noisy)")
    assert got.cached_bounds_tokens is None
    assert got.cached_source is None


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
    tokens = (got.lost_prompt_side_tokens, got.lost_engine_side_tokens, got.lost_unsplit_tokens)
    prices = (got.lost_prompt_side_ns, got.lost_engine_side_ns, got.lost_unsplit_ns)
    assert all(value is None or value >= 0 for value in (*tokens, *prices))
    if got.lost_ns is not None and call["prefill_ns"] is not None and (call["lcp"] is None or call["lcp"] >= cached):
        assert got.lost_ns <= call["prefill_ns"] + 1  # each side is rounded
    assert (got.cache_class == "unknown") == (got.lost_tokens is None)
    assert (got.lost_unsplit_tokens is None) or call["lcp"] is None


@given(prompt=st.integers(1, 5000), cached=COUNT, **CALL)
def test_only_continuations_hit_or_miss(prompt: int, cached: int, **call: Any) -> None:
    got = verdict(prompt, cached, **call)
    assert (got.cache_class in ("hit", "partial", "full_miss")) <= call["continuation"]
    assert (got.cache_class in ("cold", "branch")) <= (not call["continuation"])


@given(
    prompt=st.integers(1, 5000),
    ends=st.tuples(COUNT, COUNT),
    between=st.floats(0, 1),
    lcp=MAYBE,
    prev=MAYBE,
    continuation=st.booleans(),
    granularity=st.none() | st.integers(1, 600),
)
def test_an_inferred_class_is_that_of_every_count_in_the_interval(
    prompt: int,
    ends: tuple[int, int],
    between: float,
    lcp: int | None,
    prev: int | None,
    continuation: bool,
    granularity: int | None,
) -> None:
    low, high = sorted(min(end, prompt - 1) for end in ends)
    match = Match(lcp, prev, continuation)
    got = judge(match, evidence(prompt, None), granularity_tokens=granularity, inferred=Interval(low, high))
    if got.cache_class == "unknown":
        assert got.lost_tokens is None
        return
    told = judge(match, evidence(prompt, low + round(between * (high - low))), granularity_tokens=granularity)
    assert told.cache_class == got.cache_class
    if got.lost_tokens is not None:
        assert got.lost_tokens == told.lost_tokens


@pytest.mark.parametrize(
    ("cached", "lcp", "prev", "lost", "cache_class"),
    [
        (129, 129, 130, 0, "hit"),  # the reply, whose ids are not known, was reused but for its last token
        (110, 110, 130, 20, "partial"),  # half of it: the history has other words there than the engine generated
        (60, 100, 100, 0, "partial"),  # the engine did not come so far: of the reply nothing is said
    ],
)
def test_what_was_generated_unseen_is_told_by_what_the_engine_reused(
    cached: int, lcp: int, prev: int, lost: int, cache_class: str
) -> None:
    match = Match(lcp_tokens=100, prev_tokens=130, continuation=True, exact=False, unknown_tokens=30)
    verdict = judge(match, Evidence(prompt_tokens=150, cached_tokens=cached))
    assert (verdict.lcp_tokens, verdict.prev_tokens) == (lcp, prev)
    assert (verdict.lost_prompt_side_tokens, verdict.cache_class, verdict.confidence) == (lost, cache_class, "inferred")
