"""A measurement watches itself: a thread samples the machine, and pure functions say which figures to doubt and why.

`Watcher` samples, the store keeps the samples, `judge` and `drift` read them (`weighed`, `weighed_drift`: and say how
much). A request is judged when the run is read: the sample that covers its end does not exist yet when it is done.
Nothing is corrected or discarded here.

Cost at the default interval: 0.16 % of a core (0.8 ms a sample; 20 s on a contended machine, a tree of 4 processes).

What a watcher cannot see: load on another machine that serves the engine, and a busy GPU. A local server that the
engine's adapter has no process ids for counts as foreign.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple, Self

from profiler.readings import Readings, read_machine, sample
from profiler.records import AnchorSample, Guard, GuardSample, Severity
from profiler.run_files import StoreError

__all__ = ["CODES", "Doubt", "Readings", "Watcher", "drift", "judge", "sample", "weighed", "weighed_drift"]

CODES: Final = {
    "foreign_cpu": "other processes used {mean:.0%} of all cores ({worst:.0%} at worst): stop them and measure again",
    "steal": "the host took {mean:.1%} of the CPU time for other guests: measure when it is quiet, or on own hardware",
    "swap": "{rate_mib:.1f} MiB/s came back from swap: free memory, or take a smaller model or context",
    "major_faults": "the engine read {rate:.0f} pages a second from the disk: free memory, or load without mmap",
    "late_thread": "our own thread woke {late_ms:.0f} ms late, so stamps may be late too: leave a core to dyno",
    "drift": "the anchor's {what} went from {first:.1f} to {worst:.1f} tok/s ({change:+.0%}): compare only runs that "
    "alternate, or let the machine settle",
    "throttled": "the anchor's {what} fell with every measurement, {first:.1f} to {worst:.1f} tok/s: heat or a power "
    "limit; cool the machine or pause between sessions",
}
"""Every doubt there is: what was seen, and what to do next."""

FOREIGN_CPU_DOUBTFUL: Final = 0.10
FOREIGN_CPU_NOTE: Final = 0.05
"""Engine threads spin at barriers, so one that waits for a core stops all: the same server was 1560 times slower
beside a job of two threads on two cores. A tenth of the machine can move a rate as far as a drift that is doubtful.
Half of that is five steps of the counters in 0.5 s on two cores, so it is no error of theirs."""

STEAL_DOUBTFUL: Final = 0.02
"""Stolen time stops an engine's thread and no process shows it; 2 % is two steps of the counters in the same case."""

SWAP_IN_BYTES_PER_S: Final = 100 * 4096
"""A page takes about 0.1 ms from an SSD: 100 pages a second are 1 % of the time."""

MAJOR_FAULTS_PER_S_DOUBTFUL: Final = 100
MAJOR_FAULTS_PER_S_NOTE: Final = 10
"""100 a second are 1 % of the time on an SSD; 10 a second are that on a hard disk already (10 ms each)."""

LATE_NS: Final = 10_000_000
"""A token of a fast engine takes as long; other load generators warn at the same figure."""

DRIFT_DOUBTFUL: Final = 0.10
"""llama.cpp's tuning protocol re-measures after a drift of 10 %."""

THROTTLED_ANCHORS: Final = 4
"""By chance four rates fall in order once in 24 times; with a fall of a tenth besides, that is a pattern."""

_MIB: Final = 1 << 20
_NS_PER_S: Final = 1_000_000_000
_SAMPLES_FOR_P99: Final = 100

Window = tuple[int, int]
"""Start and end in ns, of the clock that the samples were stamped with."""


class Doubt(NamedTuple):
    """A guard with the figure that it was judged by, so that the worst of several can be told: of drift the change as
    a share, below 0 where it became slower; of the others a share, a rate or a delay in ms. Farther from 0 is worse.
    """

    guard: Guard
    by: float


class Watcher:
    """Samples the machine in a thread of its own, from `start` to `stop`; also a context manager.

    `engine_pids` is called in that thread, before every sample. A sample that the sink cannot store ends the watching,
    not the measurement: `error` then says why.
    """

    def __init__(
        self,
        engine_pids: Callable[[], Iterable[int]],
        sink: Callable[[GuardSample], None],
        interval_s: float = 0.5,
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
        read: Callable[[Iterable[int], int], Readings] = read_machine,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """`wait(seconds)` sleeps and says whether to stop; `clock` must be the one that stamps the requests."""
        self.error: StoreError | None = None
        self._engine_pids = engine_pids
        self._sink = sink
        self._interval_ns = round(interval_s * _NS_PER_S)
        self._clock = clock
        self._read = read
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the first reading and go on in the background."""
        first = self._reading()
        self._thread = threading.Thread(target=self._watch, args=(first,), name="dyno-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample, up to now, and end. May be called twice."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _watch(self, before: Readings) -> None:
        stopping = False
        while not stopping:
            due_ns = before.at_ns + self._interval_ns
            stopping = self._wait(max(0, due_ns - self._clock()) / _NS_PER_S)
            after = self._reading()
            lateness_ns = 0 if stopping else max(0, after.at_ns - due_ns)
            try:
                self._sink(sample(before, after, lateness_ns=lateness_ns))
            except StoreError as error:
                self.error = error
                return
            before = after

    def _reading(self) -> Readings:
        at_ns = self._clock()
        return self._read(self._engine_pids(), at_ns)


def judge(samples: Sequence[GuardSample], window: Window) -> tuple[Guard, ...]:
    """Which doubts apply to a request that ran in `window`. No sample there, no doubt: nothing was watched.

    Shares are means over the window, weighted by how long each sample overlaps it; a single bad sample in an otherwise
    quiet request is a note. `samples` are in order of time.
    """
    return tuple(doubt.guard for doubt in weighed(samples, window))


def weighed(samples: Sequence[GuardSample], window: Window) -> tuple[Doubt, ...]:
    """What `judge` says, each with the figure that it was judged by."""
    covering = _covering(samples, window)
    return (
        *_foreign_cpu(covering, window),
        *_steal(covering, window),
        *_swap(covering),
        *_major_faults(covering),
        *_late_thread(covering),
    )


def drift(anchors: Sequence[AnchorSample]) -> tuple[Guard, ...]:
    """Whether the machine became faster or slower during the run, by its anchors against the first one."""
    return tuple(doubt.guard for doubt in weighed_drift(anchors))


def weighed_drift(anchors: Sequence[AnchorSample]) -> tuple[Doubt, ...]:
    """What `drift` says, each with the change against the first anchor, as a share."""
    doubts: list[Doubt] = []
    for what in ("prefill", "decode"):
        rates = [r for a in anchors if (r := _anchor_rate(a, what)) is not None]
        if len(rates) < 2:
            continue
        first, worst = rates[0], max(rates[1:], key=lambda rate: abs(rate / rates[0] - 1))
        if abs(worst / first - 1) > DRIFT_DOUBTFUL:
            change = worst / first - 1
            doubts.append(_doubt("drift", "doubtful", change, what=what, first=first, worst=worst, change=change))
        falls = all(b < a for a, b in pairwise(rates))
        if falls and len(rates) >= THROTTLED_ANCHORS and rates[-1] < (1 - DRIFT_DOUBTFUL) * first:
            change = rates[-1] / first - 1
            doubts.append(_doubt("throttled", "doubtful", change, what=what, first=first, worst=rates[-1]))
    return tuple(doubts)


def _covering(samples: Sequence[GuardSample], window: Window) -> list[GuardSample]:
    start_ns, end_ns = window
    covering: list[GuardSample] = []
    for index in range(bisect_right(samples, start_ns, key=lambda s: s.at_ns), len(samples)):
        if samples[index].at_ns - samples[index].interval_ns >= max(end_ns, start_ns + 1):
            break
        covering.append(samples[index])
    return covering


def _foreign_cpu(samples: list[GuardSample], window: Window) -> list[Doubt]:
    shares = [(s.foreign_cpu, _overlap_ns(s, window)) for s in samples if s.foreign_cpu is not None]
    if not shares:
        return []
    mean, worst = _mean(shares), max(share for share, _ in shares)
    if mean > FOREIGN_CPU_DOUBTFUL:
        return [_doubt("foreign_cpu", "doubtful", mean, mean=mean, worst=worst)]
    if mean > FOREIGN_CPU_NOTE or worst > FOREIGN_CPU_DOUBTFUL:
        return [_doubt("foreign_cpu", "note", mean, mean=mean, worst=worst)]
    return []


def _steal(samples: list[GuardSample], window: Window) -> list[Doubt]:
    shares = [(s.steal, _overlap_ns(s, window)) for s in samples if s.steal is not None]
    mean = _mean(shares) if shares else 0.0
    return [_doubt("steal", "doubtful", mean, mean=mean)] if mean > STEAL_DOUBTFUL else []


def _swap(samples: list[GuardSample]) -> list[Doubt]:
    rate = _per_s([(s.swap_in_bytes, s.interval_ns) for s in samples])
    if rate is None or rate <= SWAP_IN_BYTES_PER_S:
        return []
    return [_doubt("swap", "doubtful", rate, rate_mib=rate / _MIB)]


def _major_faults(samples: list[GuardSample]) -> list[Doubt]:
    rate = _per_s([(s.major_faults, s.interval_ns) for s in samples])
    if rate is None or rate <= MAJOR_FAULTS_PER_S_NOTE:
        return []
    severity: Severity = "doubtful" if rate > MAJOR_FAULTS_PER_S_DOUBTFUL else "note"
    return [_doubt("major_faults", severity, rate, rate=rate)]


def _late_thread(samples: list[GuardSample]) -> list[Doubt]:
    late = sorted(s.lateness_ns for s in samples)
    if not late:
        return []
    worst_ns = late[-1] if len(late) < _SAMPLES_FOR_P99 else late[len(late) * 99 // 100]
    return [_doubt("late_thread", "doubtful", worst_ns / 1e6, late_ms=worst_ns / 1e6)] if worst_ns > LATE_NS else []


def _doubt(code: str, severity: Severity, by: float, **seen: Any) -> Doubt:
    return Doubt(Guard(code, severity, CODES[code].format(**seen)), by)


def _anchor_rate(anchor: AnchorSample, what: str) -> float | None:
    rate = anchor.prefill_tokens_per_s if what == "prefill" else anchor.decode_tokens_per_s
    return rate if rate else None


def _overlap_ns(of: GuardSample, window: Window) -> int:
    start_ns, end_ns = window
    return max(1, min(of.at_ns, end_ns) - max(of.at_ns - of.interval_ns, start_ns))


def _mean(weighted: list[tuple[float, int]]) -> float:
    return sum(share * weight for share, weight in weighted) / sum(weight for _, weight in weighted)


def _per_s(counts: list[tuple[int | None, int]]) -> float | None:
    known = [(count, interval_ns) for count, interval_ns in counts if count is not None]
    interval_ns = sum(interval for _, interval in known)
    return sum(count for count, _ in known) * _NS_PER_S / interval_ns if interval_ns else None
