"""Levels, peaks and energy from samples made by hand: every figure can be worked out on paper."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Evidence
from profiler.document import Level
from profiler.records import RequestRecord, Stamps
from profiler.residency.records import GpuReading, LoadSizes, ResidencySample
from profiler.residency.summary import REMOTE, energy_j, level, summarise_residency
from tests.profiler.test_summary import INFO, request

S = 1_000_000_000
LOAD = LoadSizes(100, 90, 200, 30, 0)
GPU = GpuReading(0, 500, "process", 600, 0.5, 100.0, None, 1980, 2619)


def sample(at_s: float, must_have: int | None = 100, **further: Any) -> ResidencySample:
    values: dict[str, Any] = {"file_bytes": 50, "rss_bytes": 160, "swap_bytes": 0} | further
    return ResidencySample(round(at_s * S), 0, 1, "smaps_rollup", must_have, **values)


def sent(start_s: float, end_s: float, **further: Any) -> RequestRecord:
    stamps = Stamps(round(start_s * S), done_ns=round(end_s * S))
    return msgspec.structs.replace(request(**further), stamps=stamps)


def test_a_level_is_peak_steady_and_growth() -> None:
    assert level([]) is None
    assert level([7]) == Level(7, 7, 0)
    assert level([10, 90, 40, 50, 60, 52]) == Level(90, 56, 46)
    assert level([50, 20, 20]) == Level(50, 20, -30)


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_a_level_lies_within_its_samples(sizes: list[int]) -> None:
    found = level(sizes)
    assert found is not None
    assert min(sizes) <= found.steady_bytes <= found.peak_bytes == max(sizes)
    assert found.growth_bytes == found.steady_bytes - sizes[0]


def test_a_session_has_the_samples_of_its_own_requests() -> None:
    samples = [sample(n, must_have=100 * n) for n in range(10)]
    records = [sent(1, 2), sent(2.5, 4, turn=2), sent(6, 8, session="clock")]
    residency = summarise_residency(msgspec.structs.replace(INFO, load=LOAD), records, samples)
    assert residency is not None
    assert (residency.reason, residency.source, residency.load) == (None, "smaps_rollup", LOAD)
    assert (residency.samples, residency.must_have_peak_bytes, residency.file_peak_bytes) == (10, 900, 50)
    clean, clock = residency.sessions
    # From the first request to the end of the last: 1, 2, 3 and 4 s.
    assert (clean.session, clean.samples, clean.must_have) == ("clean", 4, Level(400, 400, 300))
    assert (clock.session, clock.samples, clock.must_have) == ("clock", 3, Level(800, 800, 200))
    assert clean.energy_j_per_dispatch is None
    assert clean.gpu is None


def test_a_repeat_is_a_window_of_its_own() -> None:
    samples = [sample(n, must_have=100 * n) for n in range(10)]
    records = [sent(1, 2), sent(3, 4, session="clock"), sent(5, 6, repeat=1)]
    residency = summarise_residency(INFO, records, samples)
    assert residency is not None
    assert residency.sessions[0].samples == 4
    assert residency.sessions[0].must_have == Level(600, 600, 500)


def test_what_was_not_read_is_unknown() -> None:
    unread = [sample(n, must_have=None, file_bytes=None, swap_bytes=None) for n in range(5)]
    residency = summarise_residency(INFO, [sent(0, 4)], unread)
    assert residency is not None
    assert (residency.must_have_peak_bytes, residency.file_peak_bytes, residency.swap_peak_bytes) == (None,) * 3
    assert residency.rss_peak_bytes == 160
    assert residency.sessions[0].must_have is None


def test_a_remote_engine_is_not_measurable_from_here() -> None:
    nothing = ResidencySample(1, 0, 0, None)
    residency = summarise_residency(INFO, [sent(0, 4)], [nothing])
    assert residency is not None
    assert residency.reason == REMOTE
    assert residency.reason.startswith("not measurable from here")
    assert (residency.samples, residency.must_have_peak_bytes, residency.sessions) == (0, None, ())


def test_a_run_without_samples_has_no_residency() -> None:
    assert summarise_residency(INFO, [sent(0, 4)], []) is None


def test_power_is_integrated_from_the_start_to_the_end() -> None:
    at = [(0, 100.0), (1, 100.0), (2, 300.0), (3, 300.0)]
    samples = [sample(s, gpus=(msgspec.structs.replace(GPU, power_w=w),)) for s, w in at]
    assert energy_j(samples, (0, 3 * S)) == pytest.approx(100 + 200 + 300)
    # Half of the slope: from 100 W to 200 W in half a second.
    assert energy_j(samples, (S, 3 * S // 2)) == pytest.approx(75)
    assert energy_j(samples, (S, S)) == 0
    assert energy_j(samples, (S, 4 * S)) is None, "the samples end before"
    assert energy_j(samples[1:], (0, 2 * S)) is None, "the samples begin later"


def test_the_boards_own_counter_goes_before_power() -> None:
    samples = [sample(s, gpus=(msgspec.structs.replace(GPU, energy_j=1000.0 + 50 * s),)) for s in range(4)]
    assert energy_j(samples, (S, 5 * S // 2)) == pytest.approx(75)


def test_energy_counts_the_gpus_that_the_engine_uses() -> None:
    idle = msgspec.structs.replace(GPU, index=1, engine_bytes=0, power_w=70.0)
    later = [msgspec.structs.replace(GPU, engine_bytes=0), GPU, GPU]
    samples = [sample(s, gpus=(gpu, idle)) for s, gpu in enumerate(later)]
    assert energy_j(samples, (0, 2 * S)) == pytest.approx(200)
    assert energy_j([sample(s) for s in range(3)], (0, 2 * S)) is None
    unread = [sample(s, gpus=(msgspec.structs.replace(GPU, power_w=None),)) for s in range(3)]
    assert energy_j(unread, (0, 2 * S)) is None


def test_energy_of_a_dispatch_and_of_a_token() -> None:
    samples = [sample(s, gpus=(GPU,)) for s in range(11)]
    told, silent = Evidence(generated_tokens=20), Evidence()
    records = [sent(0, 2, evidence=told), sent(2, 4, turn=2, evidence=told), sent(6, 8, repeat=1, evidence=told)]
    residency = summarise_residency(INFO, records, samples)
    assert residency is not None
    (row,) = residency.sessions
    assert row.energy_j_per_dispatch == pytest.approx(300)  # 400 J and 200 J
    assert row.energy_j_per_generated_token == pytest.approx(10)
    assert row.gpu == Level(500, 500, 0)
    assert (residency.gpu_peak_bytes, residency.gpu_sources, residency.gpu_power_peak_w) == (500, ("process",), 100)
    unsaid = summarise_residency(INFO, [*records, sent(8, 9, repeat=1, turn=2, evidence=silent)], samples)
    assert unsaid is not None
    assert unsaid.sessions[0].energy_j_per_generated_token is None
    assert unsaid.sessions[0].energy_j_per_dispatch is not None
