"""What follows from a record, by hand, and that a record survives being written and read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Evidence
from profiler.ledger import Match
from profiler.records import SCHEMA, CacheVerdict, Failure, Reply, RequestRecord, Stamps
from profiler.verdict import judge

UNKNOWN = judge(Match(None, None, continuation=False), Evidence())


def record(stamps: Stamps | None = None, evidence: Evidence | None = None, **further: Any) -> RequestRecord:
    values: dict[str, Any] = {
        "request_id": 1,
        "session": "s",
        "conversation": "c",
        "turn": 0,
        "repeat": 0,
        "fidelity": "rehearse",
        "forcing": "token_ids",
        "sent_unix_ns": 5,
        "stamps": stamps or Stamps(sent_ns=100),
        "evidence": evidence or Evidence(),
        "reply": Reply(),
        "verdict": UNKNOWN,
    }
    return RequestRecord(**(values | further))


FULL = record(
    Stamps(100, 150, 300, 500, 1100, 1300, (300, 500, 700, 1100)),
    Evidence(1000, 900, 100, generated_tokens=5, prefill_ns=200, decode_ns=1000),
    reply=Reply(stop_reason="length"),
)


def test_times_from_the_request() -> None:
    assert FULL.ttfr_ns == 50
    assert FULL.ttft_ns == 200
    assert FULL.ttfo_ns == 400
    assert FULL.e2e_ns == 1200


def test_time_per_output_token_is_vllms() -> None:
    assert FULL.tpot_ns == (1200 - 200) / 4


def test_gaps_are_between_chunks() -> None:
    assert FULL.chunk_gaps_ns == (200, 200, 400)


def test_rates_count_what_was_computed() -> None:
    assert FULL.prefill_tokens_per_s == 100 / 200e-9
    assert FULL.client_prefill_tokens_per_s == 100 / 200e-9
    assert FULL.decode_tokens_per_s == 4 / 800e-9
    assert FULL.engine_decode_tokens_per_s == 4 / 1000e-9
    assert FULL.decode_disagreement == pytest.approx(0.25)


def test_the_token_that_ends_a_reply_is_decoded_until_the_end() -> None:
    ended = record(FULL.stamps, FULL.evidence, reply=Reply(stop_reason="stop"))
    assert ended.decode_span_ns == 1000
    assert ended.decode_tokens_per_s == 4 / 1000e-9
    assert FULL.decode_span_ns == 800


DERIVED = [name for name in dir(RequestRecord) if isinstance(getattr(RequestRecord, name), property)]


def test_what_did_not_happen_is_unknown_and_never_zero() -> None:
    bare = record()
    assert len(DERIVED) == 12
    assert {name: getattr(bare, name) for name in DERIVED} == dict.fromkeys(DERIVED) | {"chunk_gaps_ns": ()}


@pytest.mark.parametrize("generated", [None, 0, 1])
def test_a_rate_of_output_needs_two_tokens(generated: int | None) -> None:
    short = record(FULL.stamps, msgspec.structs.replace(FULL.evidence, generated_tokens=generated))
    assert short.tpot_ns is None
    assert short.decode_tokens_per_s is None
    assert short.engine_decode_tokens_per_s is None
    assert short.decode_disagreement is None


def test_a_rate_over_no_time_is_unknown() -> None:
    instant = record(Stamps(1, 1, 1, 1, 1, 1, (1, 1)), Evidence(5, 0, 5, generated_tokens=2, prefill_ns=0, decode_ns=0))
    assert instant.ttft_ns == 0
    assert instant.prefill_tokens_per_s is None
    assert instant.client_prefill_tokens_per_s is None
    assert instant.decode_tokens_per_s is None
    assert instant.engine_decode_tokens_per_s is None


def test_nothing_evaluated_has_no_rate() -> None:
    assert record(FULL.stamps, Evidence(evaluated_tokens=0, prefill_ns=10)).prefill_tokens_per_s is None


VERDICT = CacheVerdict("partial", 500, 100, "x", 400, 450, True, 50, 300, 7, 9, "observed")


def test_lost_time_needs_both_sides() -> None:
    assert VERDICT.lost_ns == 16
    for side in ("lost_prompt_side_ns", "lost_engine_side_ns"):
        assert msgspec.structs.replace(VERDICT, **{side: None}).lost_ns is None
    assert msgspec.structs.replace(VERDICT, lost_prompt_side_ns=0, lost_engine_side_ns=0).lost_ns == 0


@pytest.mark.parametrize(
    ("lcp", "prompt", "reusable"), [(400, 500, 400), (500, 500, 499), (None, 500, None), (4, None, None)]
)
def test_never_the_whole_prompt_is_reusable(lcp: int | None, prompt: int | None, reusable: int | None) -> None:
    assert msgspec.structs.replace(VERDICT, lcp_tokens=lcp, prompt_tokens=prompt).reusable_tokens == reusable


MAYBE = st.none() | st.integers(0, 2**62)
EVIDENCE = st.builds(
    Evidence,
    MAYBE,
    MAYBE,
    MAYBE,
    MAYBE,
    MAYBE,
    MAYBE,
    slot=MAYBE,
    log=st.lists(st.text()).map(tuple),
    conflict=st.none() | st.text(),
)
STAMPS = st.builds(
    Stamps, st.integers(0, 2**62), MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, st.lists(st.integers(0, 2**62)).map(tuple)
)
REPLY = st.builds(
    Reply,
    st.dictionaries(st.sampled_from(["content", "reasoning", "tool_call"]), st.text()),
    st.none() | st.lists(st.integers(0, 2**31)).map(tuple),
    st.none() | st.text(),
)


@given(
    STAMPS,
    EVIDENCE,
    REPLY,
    st.none() | st.builds(Failure, st.text(), st.text()),
)
def test_a_record_survives_being_written(
    stamps: Stamps, evidence: Evidence, reply: Reply, error: Failure | None
) -> None:
    written = record(stamps, evidence, reply=reply, error=error, verdict=VERDICT)
    assert msgspec.json.decode(msgspec.json.encode(written), type=RequestRecord) == written


def test_a_record_says_its_schema() -> None:
    assert msgspec.json.decode(msgspec.json.encode(FULL))["schema"] == SCHEMA
