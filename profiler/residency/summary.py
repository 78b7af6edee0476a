"""From memory samples to figures: levels over each session, peaks over the run, energy a dispatch and a token. Pure."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final

from profiler.document import Level, Residency, ResidencyRow
from profiler.records import RequestRecord, RunInfo
from profiler.residency.records import GpuSource, ResidencySample

__all__ = ["energy_j", "level", "summarise_residency"]

REMOTE = "not measurable from here: no process of this engine runs on this machine"
GPU_SOURCES: Final[tuple[GpuSource, ...]] = ("process", "new_process", "device_delta")
Window = tuple[int, int]
Point = tuple[int, float]


def summarise_residency(
    info: RunInfo, records: Sequence[RequestRecord], samples: Sequence[ResidencySample]
) -> Residency | None:
    """The residency of a run, also of an unfinished one; `None` if nothing was sampled. `samples` in order of time."""
    if not samples:
        return None
    alive = [sample for sample in samples if sample.processes]
    names = list(dict.fromkeys(record.session for record in records)) if alive else []
    found = {gpu.engine_source for sample in alive for gpu in sample.gpus}
    used = _used_gpus(alive)
    powers = [gpu.power_w for sample in alive for gpu in sample.gpus if gpu.index in used and gpu.power_w is not None]
    return Residency(
        reason=None if alive else REMOTE,
        source=alive[-1].source if alive else None,
        load=info.load,
        samples=len(alive),
        worst_lateness_ns=max((sample.lateness_ns for sample in alive), default=None),
        must_have_peak_bytes=_peak(alive, _must_have),
        file_peak_bytes=_peak(alive, _file),
        rss_peak_bytes=_peak(alive, _rss),
        swap_peak_bytes=_peak(alive, _swap),
        gpu_peak_bytes=_peak(alive, _gpu),
        gpu_sources=tuple(source for source in GPU_SOURCES if source in found),
        gpu_power_peak_w=max(powers, default=None),
        sessions=tuple(_row(name, [r for r in records if r.session == name], alive) for name in names),
    )


def level(sizes: Sequence[int]) -> Level | None:
    """Peak, steady size (the median of the last third, at least one sample) and growth; `None` without samples."""
    if not sizes:
        return None
    steady = round(statistics.median(sizes[-max(1, len(sizes) // 3) :]))
    return Level(peak_bytes=max(sizes), steady_bytes=steady, growth_bytes=steady - sizes[0])


def energy_j(samples: Sequence[ResidencySample], window: Window) -> float | None:
    """Energy of the GPUs that the engine uses in `window`, J; `None` unless samples on both sides of it tell.

    By the boards' own energy counters where they have them, else ∫ power dt by trapezoids. Both are taken at the ends
    of the window as if they went straight from sample to sample.
    """
    used = _used_gpus(samples)
    counters = [(s.at_ns, _sum(gpu.energy_j for gpu in s.gpus if gpu.index in used)) for s in samples]
    counted = [(at_ns, joules) for at_ns, joules in counters if joules is not None]
    if counted and len(counted) == len(counters):
        start, end = _at(counted, window[0]), _at(counted, window[1])
        return None if start is None or end is None else end - start
    powers = [(s.at_ns, _sum(gpu.power_w for gpu in s.gpus if gpu.index in used)) for s in samples]
    return _integral([(at_ns, watts) for at_ns, watts in powers if watts is not None], window)


def _row(name: str, records: Sequence[RequestRecord], samples: Sequence[ResidencySample]) -> ResidencyRow:
    windows = _windows(records)
    during = [s for s in samples if any(start <= s.at_ns <= end for start, end in windows)]
    spent = _sum(energy_j(samples, window) for window in windows)
    generated = _sum(record.evidence.generated_tokens for record in records)
    return ResidencyRow(
        session=name,
        samples=len(during),
        must_have=level(_known(during, _must_have)),
        file=level(_known(during, _file)),
        rss=level(_known(during, _rss)),
        swap=level(_known(during, _swap)),
        gpu=level(_known(during, _gpu)),
        energy_j_per_dispatch=None if spent is None else spent / len(windows),
        energy_j_per_generated_token=None if spent is None or not generated else spent / generated,
    )


def _windows(records: Sequence[RequestRecord]) -> list[Window]:
    """When each replay of a session ran: from its first request to the end of its last."""
    replays: dict[int, list[RequestRecord]] = {}
    for record in records:
        replays.setdefault(record.repeat, []).append(record)
    return [(min(r.stamps.sent_ns for r in replay), max(map(_end_ns, replay))) for replay in replays.values()]


def _end_ns(record: RequestRecord) -> int:
    return record.stamps.done_ns or record.stamps.last_delta_ns or record.stamps.sent_ns


def _must_have(sample: ResidencySample) -> int | None:
    return sample.must_have_bytes


def _file(sample: ResidencySample) -> int | None:
    return sample.file_bytes


def _rss(sample: ResidencySample) -> int | None:
    return sample.rss_bytes


def _swap(sample: ResidencySample) -> int | None:
    return sample.swap_bytes


def _gpu(sample: ResidencySample) -> int | None:
    sizes = [gpu.engine_bytes for gpu in sample.gpus]
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None


def _used_gpus(samples: Iterable[ResidencySample]) -> frozenset[int]:
    """GPUs that the engine holds memory on at some time, or of which that is not known."""
    return frozenset(gpu.index for sample in samples for gpu in sample.gpus if gpu.engine_bytes != 0)


def _known(samples: Iterable[ResidencySample], of: Callable[[ResidencySample], int | None]) -> list[int]:
    return [size for sample in samples if (size := of(sample)) is not None]


def _peak(samples: Iterable[ResidencySample], of: Callable[[ResidencySample], int | None]) -> int | None:
    return max(_known(samples, of), default=None)


def _at(points: Sequence[Point], at_ns: int) -> float | None:
    """The value at a time, on the straight line between the points around it; `None` outside of them."""
    after = bisect_left(points, at_ns, key=lambda point: point[0])
    if after == len(points):
        return None
    after_ns, value = points[after]
    if after_ns == at_ns:
        return value
    if after == 0:
        return None
    before_ns, before = points[after - 1]
    return before + (value - before) * (at_ns - before_ns) / (after_ns - before_ns)


def _integral(watts: Sequence[Point], window: Window) -> float | None:
    start, end = _at(watts, window[0]), _at(watts, window[1])
    if start is None or end is None:
        return None
    inside = [point for point in watts if window[0] < point[0] < window[1]]
    course = [(window[0], start), *inside, (window[1], end)]
    return sum((a + b) / 2 * (b_ns - a_ns) / 1e9 for (a_ns, a), (b_ns, b) in pairwise(course))


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum; `None` if there is nothing to sum, or one of them is not known."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    return sum(known) if known and len(known) == len(listed) else None
