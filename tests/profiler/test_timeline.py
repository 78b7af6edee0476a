"""A run on one clock: where zero is, what is not known, and whose memory counts."""

from __future__ import annotations

import msgspec

from backends.base import Evidence
from profiler.records import Stamps
from profiler.residency.records import GpuReading, ResidencySample
from profiler.timeline import timeline_of
from tests.profiler.dispatches import MS, call, request, turn


def test_seconds_count_from_the_first_thing_that_happened() -> None:
    stamps = Stamps(sent_ns=1_000 * MS, first_sign_ns=1_010 * MS, first_delta_ns=1_025 * MS, done_ns=1_060 * MS)
    timeline = timeline_of([request(1, stamps=stamps)], [turn(0, call("bash", 1_100, 1_300))])
    (mark,) = timeline.requests
    assert (mark.sent_s, mark.first_s, mark.done_s, mark.end_s) == (0.0, 0.025, 0.06, 0.06)
    assert (mark.prefill_s, mark.prompt_tokens, mark.cached_tokens, mark.lost_tokens) == (0.02, 100, 80, 10)
    # By the engine's time; without it, from the first text to the end.
    assert mark.decode_s == 0.03
    silent = msgspec.structs.replace(request(1, stamps=stamps), evidence=Evidence(generated_tokens=10))
    assert timeline_of([silent]).requests[0].decode_s == 0.035
    (tool,) = timeline.calls
    assert (tool.name, tool.start_s, tool.end_s) == ("bash", 0.1, 0.3)


def test_what_did_not_happen_is_none() -> None:
    (mark,) = timeline_of([request(1, stamps=Stamps(sent_ns=5), cached=None)]).requests
    assert (mark.first_s, mark.done_s, mark.end_s) == (None, None, 0.0)
    assert (mark.cached_tokens, mark.lost_tokens, mark.lost_s) == (None, None, None)


def test_a_call_that_was_not_run_takes_no_time() -> None:
    refused = msgspec.structs.replace(call(), started_ns=None, ended_ns=None)
    assert timeline_of([], [turn(0, refused)]).calls == ()


def test_memory_of_all_gpus_is_known_only_if_each_is() -> None:
    def sample(*sizes: int | None, processes: int = 1) -> ResidencySample:
        gpus = tuple(GpuReading(n, size, None, None, None, None, None, None, None) for n, size in enumerate(sizes))
        return ResidencySample(0, 0, processes, None, must_have_bytes=7, gpus=gpus)

    marks = timeline_of([], [], [sample(1, 2), sample(1, None), sample(), sample(3, processes=0)]).memory
    assert [mark.gpu_bytes for mark in marks] == [3, None, None]
    assert [mark.must_have_bytes for mark in marks] == [7, 7, 7]
