"""Guards: exact verdicts from made samples, the watcher on a clock that the test moves, and one true watch."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from itertools import pairwise
from string import Formatter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.guards import CODES, Watcher, drift, judge, weighed, weighed_drift
from profiler.readings import ProcessTimes, Readings
from profiler.records import AnchorSample, Guard, GuardSample
from profiler.store import StoreError

S = 1_000_000_000
QUIET = GuardSample(
    at_ns=0, interval_ns=S // 2, foreign_cpu=0.0, steal=0.0, swap_in_bytes=0, major_faults=0, lateness_ns=0
)


def samples(*changes: dict[str, object]) -> list[GuardSample]:
    """Samples that follow each other, half a second each, from 10 s on."""
    return [
        msgspec.structs.replace(QUIET, at_ns=10 * S + (n + 1) * S // 2, **change) for n, change in enumerate(changes)
    ]


def codes(guards: Iterable[Guard]) -> list[tuple[str, str]]:
    return [(guard.code, guard.severity) for guard in guards]


ALL = (10 * S, 20 * S)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"foreign_cpu": 0.05}, []),
        ({"foreign_cpu": 0.06}, [("foreign_cpu", "note")]),
        ({"foreign_cpu": 0.10}, [("foreign_cpu", "note")]),
        ({"foreign_cpu": 0.11}, [("foreign_cpu", "doubtful")]),
        ({"steal": 0.02}, []),
        ({"steal": 0.03}, [("steal", "doubtful")]),
        ({"swap_in_bytes": 200_000}, []),
        ({"swap_in_bytes": 210_000}, [("swap", "doubtful")]),
        ({"major_faults": 5}, []),
        ({"major_faults": 6}, [("major_faults", "note")]),
        ({"major_faults": 51}, [("major_faults", "doubtful")]),
        ({"lateness_ns": 10_000_000}, []),
        ({"lateness_ns": 10_000_001}, [("late_thread", "doubtful")]),
        ({"foreign_cpu": None, "steal": None, "swap_in_bytes": None, "major_faults": None}, []),
    ],
)
def test_thresholds(change: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert codes(judge(samples(change, change), ALL)) == expected


def test_the_text_says_what_was_seen_and_what_to_do() -> None:
    (guard,) = judge(samples({"foreign_cpu": 0.2}, {"foreign_cpu": 0.4}), ALL)
    assert guard.text == "other processes used 30% of all cores (40% at worst): stop them and measure again"
    (guard,) = judge(samples({"swap_in_bytes": 1 << 20}), ALL)
    assert guard.text.startswith("2.0 MiB/s came back from swap: ")
    (guard,) = judge(samples({"major_faults": 100}), ALL)
    assert guard.text.startswith("the engine read 200 pages a second")
    (guard,) = judge(samples({"lateness_ns": 25_400_000}), ALL)
    assert guard.text.startswith("our own thread woke 25 ms late")


def test_only_samples_that_overlap_the_request_count() -> None:
    taken = samples({}, {"foreign_cpu": 0.5}, {}, {})
    second = (10 * S + S // 2, 11 * S)
    assert judge(taken, (10 * S, second[0])) == ()
    assert judge(taken, (second[1], 12 * S)) == ()
    assert codes(judge(taken, second)) == [("foreign_cpu", "doubtful")]
    assert codes(judge(taken, (second[1] - 1, second[1] - 1))) == [("foreign_cpu", "doubtful")]
    assert judge(taken, (0, 9 * S)) == ()
    assert judge(taken, (13 * S, 14 * S)) == ()
    assert judge([], second) == ()


def test_shares_are_weighted_by_overlap() -> None:
    taken = samples({"foreign_cpu": 0.24}, {}, {}, {})
    # A quarter of the request lies in the loaded sample: 6 %, and more than 10 % at worst.
    assert codes(judge(taken, (10 * S, 12 * S))) == [("foreign_cpu", "note")]
    # A tenth of a second of it in half a second: 4.8 %.
    (guard,) = judge(taken, (10 * S + 4 * S // 10, 10 * S + 9 * S // 10))
    assert guard.severity == "note"
    assert "5% of all cores (24% at worst)" in guard.text


def test_lateness_is_the_99th_percentile_of_many_samples() -> None:
    one_late = samples({"lateness_ns": 50_000_000}, *[{}] * 199)
    assert judge(one_late, (0, 200 * S)) == ()
    assert codes(judge(one_late, (0, 12 * S))) == [("late_thread", "doubtful")]


share = st.none() | st.floats(0, 1)
count = st.none() | st.integers(0, 10**12)
made = st.builds(
    GuardSample, st.integers(1, 10**13), st.integers(1, 10**10), share, share, count, count, st.integers(0, 10**11)
)


@given(st.lists(made, max_size=8), st.integers(0, 10**13), st.integers(0, 10**13))
def test_judge_never_fails_and_uses_only_its_codes(taken: list[GuardSample], start: int, length: int) -> None:
    guards = judge(sorted(taken, key=lambda s: s.at_ns), (start, start + length))
    assert {g.code for g in guards} <= set(CODES)
    assert len({g.code for g in guards}) == len(guards)


def anchors(*rates: tuple[float | None, float | None]) -> list[AnchorSample]:
    return [AnchorSample(n, prefill, decode) for n, (prefill, decode) in enumerate(rates)]


def test_drift_is_judged_against_the_first_anchor() -> None:
    assert drift([]) == ()
    assert drift(anchors((100, 10))) == ()
    assert drift(anchors((100, 10), (109, 9.1), (91, 10.9))) == ()
    (slower,) = drift(anchors((100, 10), (95, 8.5), (96, 10)))
    assert (slower.code, slower.severity) == ("drift", "doubtful")
    assert slower.text.startswith("the anchor's decode went from 10.0 to 8.5 tok/s (-15%)")
    (faster,) = drift(anchors((100, 10), (130, 10), (80, 10)))
    assert "prefill went from 100.0 to 130.0 tok/s (+30%)" in faster.text
    assert codes(drift(anchors((100, 10), (80, 8)))) == [("drift", "doubtful")] * 2


def test_the_worst_of_several_doubts_can_be_told_by_their_figures() -> None:
    assert [round(doubt.by, 3) for doubt in weighed_drift(anchors((100, 10), (130, 8)))] == [0.3, -0.2]
    busy = GuardSample(10**9, 10**9, 0.4, None, None, None, 30_000_000)
    found = {doubt.guard.code: doubt.by for doubt in weighed([busy], (0, 10**9))}
    assert found == {"foreign_cpu": 0.4, "late_thread": 30.0}


def test_unmeasured_anchors_are_no_drift() -> None:
    assert drift(anchors((None, None), (None, 10), (None, 0), (None, 10.5))) == ()
    (guard,) = drift(anchors((None, None), (None, 10), (None, 5)))
    assert "10.0 to 5.0" in guard.text


def test_a_steady_fall_is_throttling() -> None:
    falling = anchors((100, 10), (97, 10), (92, 10), (85, 10))
    assert codes(drift(falling)) == [("drift", "doubtful"), ("throttled", "doubtful")]
    assert codes(drift(falling[:3])) == []
    recovered = anchors((100, 10), (97, 10), (85, 10), (92, 10))
    assert codes(drift(recovered)) == [("drift", "doubtful")]
    slightly = anchors((100, 10), (99, 10), (98, 10), (97, 10))
    assert drift(slightly) == ()


def test_every_code_gives_a_next_step() -> None:
    for text in CODES.values():
        assert ":" in "".join(literal for literal, *_ in Formatter().parse(text))


class Clock:
    """Moves only when the watcher waits; each wait oversleeps by the next of `late_ns`, the last one stops."""

    def __init__(self, late_ns: list[int]) -> None:
        self.now_ns = 100 * S
        self._late_ns = late_ns
        self.waited_s: list[float] = []

    def __call__(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> bool:
        self.waited_s.append(seconds)
        self.now_ns += round(seconds * S) + self._late_ns.pop(0)
        return not self._late_ns


def watched(clock: Clock, sink: list[GuardSample]) -> Watcher:
    def read(pids: Iterable[int], at_ns: int) -> Readings:
        assert tuple(pids) == (7,)
        clock.now_ns += 2_000_000  # what a reading takes
        busy_ns = at_ns // 2
        return Readings(at_ns, 2 * at_ns, busy_ns, 0, 0, 0, {(7, 1): ProcessTimes(at_ns // 4, 0, 0, True)})

    return Watcher(lambda: (7,), sink.append, interval_s=0.5, clock=clock, read=read, wait=clock.wait)


def test_the_watcher_samples_at_its_interval_and_knows_how_late_it_was() -> None:
    taken: list[GuardSample] = []
    clock = Clock([0, 30_000_000, 0, 40_000_000])
    with watched(clock, taken):
        pass
    # The last wait was ended by `stop`, so it says nothing of lateness.
    assert [s.lateness_ns for s in taken] == [0, 30_000_000, 0, 0]
    assert [s.interval_ns for s in taken] == [500_000_000, 530_000_000, 500_000_000, 540_000_000]
    assert [s.at_ns for s in taken[:2]] == [100 * S + 500_000_000, 101 * S + 30_000_000]
    # Busy half of one core of two, half of that the engine: an eighth of all cores is foreign.
    assert [s.foreign_cpu for s in taken] == [0.125] * 4
    assert clock.waited_s == [0.498] * 4


def test_a_last_sample_is_taken_at_the_end_without_lateness() -> None:
    taken: list[GuardSample] = []
    clock = Clock([-100_000_000])
    with watched(clock, taken):
        pass
    (last,) = taken
    assert (last.interval_ns, last.lateness_ns) == (400_000_000, 0)


def test_a_sink_that_fails_ends_the_watching_and_says_why() -> None:
    def full(_: GuardSample) -> None:
        raise StoreError("disk full")

    watcher = Watcher(tuple, full, interval_s=0.01)
    with watcher:
        deadline = time.monotonic() + 10
        while watcher.error is None and time.monotonic() < deadline:
            time.sleep(0.01)
    assert str(watcher.error) == "disk full"
    watcher.stop()


def test_the_watcher_watches_this_machine() -> None:
    taken: list[GuardSample] = []
    watcher = Watcher(tuple, taken.append, interval_s=0.25)
    threads = threading.active_count()
    with watcher:
        time.sleep(0.6)
    assert threading.active_count() == threads
    # Two at the interval, unless this machine is very busy, and one at the end.
    assert len(taken) >= 2
    assert all(s.interval_ns > 0 for s in taken)
    assert any(s.foreign_cpu is not None for s in taken)
    assert all(b.at_ns - b.interval_ns == a.at_ns for a, b in pairwise(taken))
    assert watcher.error is None


def test_a_watcher_that_never_started_may_be_stopped() -> None:
    Watcher(tuple, print).stop()
