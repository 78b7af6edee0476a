"""The document of a run, from records made by hand: every figure can be worked out on paper."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.base import Evidence, Facts
from profiler.ledger import Match
from profiler.records import Failure, Guard, Machine, Reply, RequestRecord, RunInfo, Stamps
from profiler.stability import MIN_CONTINUATIONS
from profiler.summary import MIN_SAMPLES_P95, summarise
from profiler.verdict import judge

INFO = RunInfo(
    run_id="r1",
    command="cache",
    started_unix_ns=1,
    target="scripted:",
    facts=Facts(engine="scripted", build="1"),
    machine=Machine("Linux", "cpu", 2, 2, 1),
    versions={},
    settings={
        "sessions": {
            "clean": {"provokes": "nothing", "side": "none"},
            "clock": {"provokes": "clock", "side": "prompt"},
        }
    },
)
SECOND = 1_000_000_000


def request(
    prompt: int = 1000,
    cached: int | None = 900,
    *,
    lcp: int | None = 901,
    prev: int | None = 901,
    session: str = "clean",
    continuation: bool = True,
    turn: int = 1,
    **further: Any,
) -> RequestRecord:
    """A request that took 1 s for its evaluated tokens and 2 s for 21 tokens after the first."""
    evaluated = None if cached is None else prompt - cached
    evidence = Evidence(prompt, cached, evaluated, 21, SECOND, 2 * SECOND)
    verdict = judge(Match(lcp, prev, continuation), evidence, prefill_ns=SECOND)
    stamps = Stamps(0, 1, SECOND, SECOND, 3 * SECOND, 3 * SECOND, (SECOND, 3 * SECOND))
    values: dict[str, Any] = {
        "request_id": turn,
        "session": session,
        "conversation": "main",
        "turn": turn,
        "repeat": 0,
        "fidelity": "rehearse",
        "forcing": "token_ids",
        "sent_unix_ns": 1,
        "stamps": stamps,
        "evidence": evidence,
        "reply": Reply(stop_reason="length"),
        "verdict": verdict,
    }
    return RequestRecord(**(values | further))


HIT = request()
LOST = request(2000, 10, lcp=1500, prev=1500)
CLOCK = request(1000, 0, lcp=10, prev=900, session="clock")
COLD = request(500, 0, lcp=0, prev=0, continuation=False, turn=0)


def test_a_row_adds_up() -> None:
    document = summarise(INFO, [COLD, HIT, HIT, LOST])
    (row,) = document.sessions
    assert (row.requests, row.continuations, row.hit, row.partial, row.full_miss) == (4, 3, 2, 0, 1)
    assert (row.cold, row.branch, row.unknown, row.errors) == (1, 0, 0, 0)
    assert row.lost_engine_side_tokens == 1490
    assert row.lost_prompt_side_tokens == 0
    assert row.lost_s == pytest.approx(1490 / 1990)
    assert row.reuse_efficiency == pytest.approx((900 + 900 + 10) / (901 + 901 + 1500))
    assert row.history_reused == row.reuse_efficiency


def test_rates_are_weighted_by_tokens() -> None:
    (row,) = summarise(INFO, [HIT, LOST]).sessions
    assert row.prefill_tokens_per_s == pytest.approx((100 + 1990) / 2)
    assert row.decode_tokens_per_s == 10
    assert row.ttft_median_ns == SECOND


def test_text_that_changed_lowers_what_was_reused_but_not_the_engines_part() -> None:
    (row,) = summarise(INFO, [msgspec.structs.replace(CLOCK, session="clean")]).sessions
    assert row.history_reused == 0
    assert row.lost_prompt_side_tokens == 890


def test_only_sessions_without_a_provoked_fault_are_judged() -> None:
    document = summarise(INFO, [HIT] * MIN_CONTINUATIONS + [CLOCK] * 5)
    assert document.verdict.judged_sessions == ("clean",)
    assert document.verdict.stable is True
    assert document.verdict.lost_s == 0
    assert document.sessions[1].lost_s == pytest.approx(5 * 0.89)


def test_if_all_sessions_are_provoked_all_are_judged() -> None:
    verdict = summarise(INFO, [CLOCK] * MIN_CONTINUATIONS).verdict
    assert verdict.judged_sessions == ("clock",)
    assert verdict.stable is False
    assert verdict.full_miss_rate == 1


def test_sessions_that_the_run_does_not_know_are_judged() -> None:
    verdict = summarise(INFO, [msgspec.structs.replace(HIT, session="mine")] * MIN_CONTINUATIONS).verdict
    assert verdict.judged_sessions == ("mine",)


@pytest.mark.parametrize(
    ("records", "stable", "reason"),
    [
        ([], None, "no continuation"),
        ([HIT] * (MIN_CONTINUATIONS - 1), None, "only 9 continuations"),
        ([HIT] * MIN_CONTINUATIONS, True, "0.0% of 10 continuations"),
        ([HIT] * 19 + [LOST], False, "reusable tokens were reused"),
        ([HIT] * 9 + [LOST], False, "10.0% of 10 continuations lost the whole cache"),
        ([request(cached=None)] * 20, None, "does not say"),
    ],
)
def test_verdicts(records: list[RequestRecord], stable: bool | None, reason: str) -> None:
    verdict = summarise(INFO, records).verdict
    assert verdict.stable is stable
    assert reason in verdict.reason


def test_seconds_are_per_replay_of_a_session() -> None:
    again = msgspec.structs.replace(LOST, repeat=1)
    verdict = summarise(INFO, [LOST, LOST, again, again]).verdict
    assert verdict.lost_s == pytest.approx(4 * 1490 / 1990)
    assert verdict.lost_s_per_dispatch == pytest.approx(2 * 1490 / 1990)


def test_unknown_is_none_and_never_zero() -> None:
    document = summarise(INFO, [request(cached=None)])
    (row,) = document.sessions
    assert row.unknown == 1
    assert row.lost_s is row.lost_engine_side_tokens is row.reuse_efficiency is row.history_reused is None
    assert document.verdict.lost_s is document.verdict.full_miss_rate is None
    assert document.requests[0].cached_tokens is None


def test_a_95th_percentile_needs_samples() -> None:
    assert summarise(INFO, [HIT] * (MIN_SAMPLES_P95 - 1)).sessions[0].ttft_p95_ns is None
    assert summarise(INFO, [HIT] * MIN_SAMPLES_P95).sessions[0].ttft_p95_ns == SECOND


def test_failed_requests_are_counted_and_shown() -> None:
    failed = msgspec.structs.replace(HIT, error=Failure("EngineFault", "HTTP 500: no"))
    document = summarise(INFO, [HIT, failed])
    assert document.sessions[0].errors == 1
    assert document.requests[1].error == "EngineFault: HTTP 500: no"


def test_doubts_are_counted_by_request() -> None:
    guards = {1: (Guard("foreign_cpu", "doubtful", "x"),), 2: (Guard("steal", "note", "y"),)}
    document = summarise(INFO, [HIT, msgspec.structs.replace(HIT, request_id=2)], guards=guards)
    assert document.sessions[0].doubtful == 1
    assert [r.guards for r in document.requests] == [("foreign_cpu",), ("steal",)]
