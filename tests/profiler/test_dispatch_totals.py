"""Totals: sums worked out by hand, and never half a sum."""

from __future__ import annotations

import msgspec

from profiler.dispatch_totals import totals_of
from profiler.records import Failure, Stamps
from tests.profiler.dispatches import MS, call, request, turn


def test_sums_and_what_is_left_for_the_harness() -> None:
    turns = [turn(0, call(end_ms=10), call("test", 10, 40), request_id=1), turn(1, request_id=2)]
    totals = totals_of([request(1), request(2)], turns, wall_ns=200 * MS)
    assert (totals.requests, totals.turns, totals.calls) == (2, 2, 2)
    assert (totals.prompt_tokens, totals.cached_tokens, totals.evaluated_tokens) == (200, 160, 40)
    assert (totals.generated_tokens, totals.prefill_ns, totals.decode_ns) == (20, 40 * MS, 60 * MS)
    assert (totals.ttft_ns, totals.engine_ns, totals.tool_ns) == (50 * MS, 120 * MS, 40 * MS)
    assert totals.overhead_ns == (200 - 120 - 40) * MS
    # 90 tokens could be reused and 80 were: 10 of the 20 evaluated ones were lost, so half of the prefill.
    assert (totals.lost_tokens, totals.lost_ns) == (20, 20 * MS)


def test_what_one_request_does_not_say_is_unknown_in_the_sum() -> None:
    totals = totals_of([request(1), request(2, cached=None)], [], wall_ns=MS)
    assert totals.cached_tokens is None
    assert totals.evaluated_tokens is None
    assert totals.lost_tokens is None
    assert totals.prompt_tokens == 200


def test_a_failed_request_takes_the_time_up_to_its_last_sign() -> None:
    failed = msgspec.structs.replace(
        request(1), error=Failure("EngineDied", "gone"), stamps=Stamps(sent_ns=0, first_sign_ns=7 * MS)
    )
    assert totals_of([failed], [], wall_ns=10 * MS).engine_ns == 7 * MS


def test_without_an_engine_only_tools_and_turns_are_told() -> None:
    totals = totals_of([], [turn(0, call(end_ms=30))], wall_ns=50 * MS)
    assert (totals.tool_ns, totals.engine_ns, totals.overhead_ns) == (30 * MS, 0, 20 * MS)
    assert totals.lost_by_cause_s == {}
