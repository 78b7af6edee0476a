"""The anchor: always the same length, always cold, and never the cause of an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Request
from backends.scripted import Options, Scripted
from profiler.anchor import GENERATED_TOKENS, WORDS, anchor_request, measure_anchor, typical
from profiler.ledger import Ledger
from profiler.records import AnchorSample

TEMPLATE_HEAD_TOKENS = 4


def text_of(request: Request) -> str:
    content = request.messages[0]["content"]
    assert isinstance(content, str)
    return content


@given(st.text(), st.text())
def test_labels_differ_from_the_first_word_on(a: str, b: str) -> None:
    first, second = text_of(anchor_request(a)).split(), text_of(anchor_request(b)).split()
    assert len(first) == len(second) == WORDS + 1
    assert (first[0] == second[0]) == (a == b)


def test_an_anchor_is_the_same_every_time() -> None:
    assert anchor_request("x") == anchor_request("x")
    assert anchor_request("x").max_tokens == GENERATED_TOKENS


def test_its_rates_are_the_engines_own() -> None:
    engine = Scripted(Options(prefill_ns_per_token=50_000, decode_ns_per_token=4_000_000))
    sample = measure_anchor(engine, Ledger(), "first")
    assert sample.prefill_tokens_per_s == pytest.approx(20_000)
    assert sample.decode_tokens_per_s == pytest.approx(250)
    assert sample.at_ns == engine.clock() > 0


def test_each_anchor_is_cold_on_a_warm_engine() -> None:
    engine, ledger = Scripted(Options()), Ledger()
    for label in ("a", "b", "c"):
        request = anchor_request(label)
        prompt = engine.render(request).token_ids
        assert (ledger.match("probe", prompt).lcp_tokens or 0) <= TEMPLATE_HEAD_TOKENS + 2
        measure_anchor(engine, ledger, label)


def test_the_ledger_knows_that_the_engine_has_seen_it() -> None:
    engine, ledger = Scripted(Options()), Ledger()
    measure_anchor(engine, ledger, "a")
    prompt = engine.render(anchor_request("a")).token_ids
    match = ledger.match("other", prompt)
    assert match.lcp_tokens == len(prompt)
    assert match.prev_tokens == len(prompt) + GENERATED_TOKENS
    assert not match.continuation


def test_a_failed_anchor_is_a_sample_without_rates() -> None:
    engine, ledger = Scripted(Options(max_context=20)), Ledger()
    sample = measure_anchor(engine, ledger, "a")
    assert (sample.prefill_tokens_per_s, sample.decode_tokens_per_s) == (None, None)
    assert ledger.match("other", engine.render(anchor_request("a")).token_ids).lcp_tokens == 0


def test_an_engine_that_says_no_cached_tokens_gives_no_prefill_rate() -> None:
    sample = measure_anchor(Scripted(Options(report="none")), Ledger(), "a")
    assert sample.prefill_tokens_per_s is None
    assert sample.decode_tokens_per_s == pytest.approx(100)


def test_the_typical_anchor_is_the_middle_of_each_rate() -> None:
    samples = [AnchorSample(n, rate, None if n else 5.0) for n, rate in enumerate((10.0, 900.0, 100.0, 110.0, None))]
    assert typical(samples) == AnchorSample(4, 105.0, 5.0)
    assert typical([AnchorSample(7, None, None)]) == AnchorSample(7, None, None)
