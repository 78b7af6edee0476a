"""The verdict of a run where something is not shown or not said: on history, on bounds, or on a doubtful figure."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from profiler.document import Verdict
from profiler.inversion import Interval
from profiler.ledger import Match
from profiler.probe_records import CachedFigure, CalibrationRecord, Figure, Probe
from profiler.records import RequestRecord, RunInfo
from profiler.summary import summarise
from profiler.verdict import judge
from tests.profiler.test_summary import HIT, INFO, LOST, SECOND, request

INFERRING = msgspec.structs.replace(INFO, calibration=CalibrationRecord((), {"fitted": "yes"}))


def unseen(cached: int, prev: int = 900, prompt: int = 1000) -> RequestRecord:
    """A continuation on a server that does not show its prompts."""
    return request(prompt, cached, lcp=None, prev=prev)


def bounded(low: int, high: int, prompt: int = 1000, prev: int = 900) -> RequestRecord:
    """A continuation whose C is inferred, on a server that does not show its prompts either."""
    silent = request(prompt, None, lcp=None, prev=prev)
    verdict = judge(Match(None, prev, True), silent.evidence, prefill_ns=SECOND, inferred=Interval(low, high))
    return msgspec.structs.replace(silent, verdict=verdict)


def withheld() -> RequestRecord:
    """A continuation of the same server whose time told nothing."""
    return request(1000, None, lcp=None, prev=900)


def verdict_of(*records: RequestRecord, info: RunInfo = INFERRING) -> Verdict:
    return summarise(info, records).verdict


@pytest.mark.parametrize(
    ("records", "stable", "said"),
    [
        ([unseen(900)] * 10, True, "100.0% of the history was reused, 0.0% of 10 continuations"),
        ([unseen(900)] * 9 + [unseen(0)], False, "10.0% of 10 continuations lost the whole cache"),
        ([unseen(900)] * 30 + [unseen(0, 9000, 9100)], False, "75.0% of the history was reused"),
    ],
)
def test_without_prompts_it_is_judged_on_history_and_says_so(
    records: list[RequestRecord], stable: bool, said: str
) -> None:
    verdict = verdict_of(*records, info=INFO)
    assert verdict.stable is stable
    assert said in verdict.reason
    assert "judged on history reuse, because the prompts are not shown" in verdict.reason
    assert verdict.judged_on == "history"
    assert verdict.reuse_efficiency is None
    assert verdict.reused_low == verdict.reused_high


def test_without_prompts_the_seconds_are_known_but_not_by_side() -> None:
    document = summarise(INFO, [unseen(900)] * 11 + [unseen(400)])
    verdict, (row,) = document.verdict, document.sessions
    assert verdict.lost_s == row.lost_s == pytest.approx(500 / 600)
    assert verdict.lost_prompt_side_s is verdict.lost_engine_side_s is row.lost_engine_side_tokens is None
    assert row.lost_tokens == document.requests[-1].lost_tokens == 500
    assert row.reuse_efficiency is None
    assert row.history_reused == row.history_reused_low == pytest.approx((11 * 900 + 400) / 10_800)


def test_with_prompts_it_is_judged_on_what_could_be_reused() -> None:
    verdict = verdict_of(*[HIT] * 10, info=INFO)
    assert verdict.judged_on == "reusable"
    assert verdict.reuse_efficiency == verdict.reused_low == verdict.reused_high
    assert "history" not in verdict.reason


@pytest.mark.parametrize(
    ("records", "stable", "said"),
    [
        ([bounded(860, 960)] * 10, True, "95.6% to 100.0% of the history was reused, 0.0% of 10 continuations"),
        ([bounded(800, 960)] * 10, None, "the times leave it open: 88.9% to 100.0% of the history"),
        ([bounded(0, 300)] * 10, False, "0.0% to 33.3% of the history was reused (from 95% on is stable)"),
        ([bounded(0, 10)] * 10, False, "100.0% of 10 continuations lost the whole cache"),
        # One in ten may be a full miss, or not.
        ([bounded(899, 960)] * 49 + [bounded(0, 890)] * 5, None, "0.0% to 9.3% of 54 continuations"),
        ([bounded(860, 960)] * 9, None, "only 9 continuations were measured, 10 are needed"),
    ],
)
def test_bounds_give_a_verdict_where_both_ends_lead_to_it(
    records: list[RequestRecord], stable: bool | None, said: str
) -> None:
    verdict = verdict_of(*records)
    assert verdict.stable is stable
    assert said in verdict.reason
    assert verdict.lost_s is None
    if len(records) >= 10:
        assert "inferred from the time to the first token" in verdict.reason


def test_what_was_withheld_may_have_been_a_miss() -> None:
    """Wide intervals are withheld, and misses have the widest: without them, any cache would look stable."""
    verdict = verdict_of(*[bounded(860, 960)] * 20, *[withheld()] * 5)
    assert verdict.stable is None
    assert verdict.continuations == 25
    assert verdict.reused_low == pytest.approx(20 * 860 / (25 * 900))
    assert verdict.reused_high == 1
    assert verdict.full_miss_rate is None


def test_a_run_that_infers_nothing_leaves_out_what_is_not_known() -> None:
    verdict = verdict_of(*[HIT] * 10, withheld(), info=INFO)
    assert verdict.stable is True
    assert verdict.continuations == 10


def test_a_loss_that_is_not_known_is_not_summed_over() -> None:
    (row,) = summarise(INFERRING, [*[bounded(895, 960)] * 10, bounded(300, 400)]).sessions
    assert (row.hit, row.partial) == (10, 1)
    assert row.lost_tokens is row.lost_s is None


def figure(cached: CachedFigure, cold: int | None, repeat: int | None) -> Probe:
    nothing = Figure(None, None, None)
    values: dict[str, Any] = dict.fromkeys(
        ("evaluated_tokens", "generated_tokens", "prefill_ns", "decode_ns", "slot", "ttft_ns"), nothing
    )
    return Probe(
        prompt_tokens=Figure(300, 300, "usage.prompt_tokens"),
        cached_tokens=Figure(cold, repeat, "usage.cached"),
        cached=cached,
        token_ids=False,
        log=False,
        prompts=True,
        streams=True,
        prompt_characters=1000,
        **values,
    )


def test_a_figure_that_never_moved_is_no_miss() -> None:
    info = msgspec.structs.replace(INFO, probe=figure("always_0", 0, 0))
    dead = [request(1000, 0)] * 12
    verdict = verdict_of(*dead, info=info)
    assert verdict.stable is None
    assert "0 tokens were cached, also of an identical repeat" in verdict.reason
    # A cache that cannot take up a whole prompt again may still reuse the beginning of a longer one.
    assert verdict_of(*dead, HIT, info=info).stable is False
    assert verdict_of(*dead, info=msgspec.structs.replace(INFO, probe=figure("reported", 0, 299))).stable is False


def test_errors_and_first_requests_are_no_continuations() -> None:
    first = request(500, 0, lcp=None, prev=None, continuation=False, turn=0)
    verdict = verdict_of(first, *[unseen(900)] * 10, LOST, info=INFO)
    assert verdict.continuations == 11
