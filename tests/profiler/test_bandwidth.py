"""Bandwidth: its arithmetic on a made clock, what withholds it, what makes it doubtful, and a real measurement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from profiler.bandwidth import BUDGET_NS, KERNELS, Words, cache_bytes, measure

MIB = 1 << 20


def stepping(step_ns: int) -> Callable[[], int]:
    """A clock that moves by a step at every reading."""
    ticks = count(0, step_ns)
    return lambda: next(ticks)


def test_the_figures_are_bytes_by_nanoseconds() -> None:
    found = measure(2, 1 << 30, 1 * MIB, clock=stepping(100_000_000), smallest_bytes=4 * MIB)
    assert found.buffer_bytes == 4 * MIB
    assert found.one_thread_gb_per_s == found.all_cores_gb_per_s == pytest.approx(4 * MIB / 1e8)
    assert (found.threads, found.cache_bytes, found.source, found.reason) == (2, MIB, "measured", None)
    assert found.doubts == ()
    assert "1e9 bytes" in found.method


def test_a_short_pass_is_repeated_until_it_is_long_enough() -> None:
    """A pass of 1 ms is read five times in the next round, and five times as often in the one after."""
    found = measure(1, 1 << 30, MIB, clock=stepping(1_000_000), smallest_bytes=4 * MIB, budget_ns=0)
    assert found.one_thread_gb_per_s == pytest.approx(4 * MIB * 25 / 1e6)
    assert found.passes == 3


def test_the_buffer_is_four_times_the_caches() -> None:
    found = measure(3, 1 << 30, 4 * MIB, clock=stepping(BUDGET_NS), smallest_bytes=MIB)
    assert found.buffer_bytes is not None
    assert 0 <= 16 * MIB - found.buffer_bytes < 3 * 8
    small = measure(1, 32 * MIB, 3 * MIB, clock=stepping(BUDGET_NS), smallest_bytes=MIB)
    assert small.buffer_bytes == 8 * MIB
    assert small.doubts == ("the buffer is only 2.7 times the caches: the figures may be too high",)


def test_it_is_withheld_where_memory_is_short() -> None:
    found = measure(1, 100 * MIB, 32 * MIB, clock=stepping(1))
    assert (found.one_thread_gb_per_s, found.all_cores_gb_per_s, found.source) == (None, None, "none")
    assert found.reason == "not enough free memory: 0.2 GiB are needed, 0.1 GiB are free"


def test_unknown_caches_and_a_busy_machine_make_it_doubtful() -> None:
    found = measure(
        1, 1 << 30, None, clock=stepping(BUDGET_NS), doubts=("busy",), smallest_bytes=MIB, unknown_caches_bytes=2 * MIB
    )
    assert found.doubts[0] == "busy"
    assert "not known" in found.doubts[1]
    assert found.buffer_bytes == 8 * MIB


def test_passes_that_differ_make_it_doubtful() -> None:
    steps = iter([0, *(n for k in range(1, 100) for n in (k * 10**9, k * 10**9 + (10**8 if k < 5 else 5 * 10**8)))])
    found = measure(1, 1 << 30, MIB, clock=lambda: next(steps), smallest_bytes=4 * MIB, budget_ns=0)
    assert len(found.doubts) == 2
    assert found.doubts[0].startswith("the passes of one thread differ")


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_lets_other_threads_run(kernel: Callable[[Words], None]) -> None:
    """A thread that counts goes on while the kernel reads: the interpreter is free meanwhile."""
    words = np.ones(8 * MIB, dtype=np.uint64)
    counted = 0
    stop = threading.Event()

    def go_on() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1
            time.sleep(0.0001)

    thread = threading.Thread(target=go_on)
    thread.start()
    before = counted
    for _ in range(20):
        kernel(words)
    during = counted - before
    stop.set()
    thread.join()
    assert during > 3


def test_a_real_measurement() -> None:
    found = measure(2, 1 << 30, MIB, clock=time.perf_counter_ns, smallest_bytes=16 * MIB, budget_ns=50_000_000)
    assert found.one_thread_gb_per_s is not None
    assert found.all_cores_gb_per_s is not None
    assert 0.05 < found.one_thread_gb_per_s < 10_000
    assert 0.05 < found.all_cores_gb_per_s < 10_000


def cpu(root: Path, number: int, *caches: tuple[int, str, str]) -> None:
    for index, (level, size, shared) in enumerate(caches):
        folder = root / f"sys/devices/system/cpu/cpu{number}/cache/index{index}"
        folder.mkdir(parents=True)
        for name, value in (("level", str(level)), ("size", size), ("shared_cpu_list", shared)):
            (folder / name).write_text(f"{value}\n")


def test_last_level_caches_count_once_each(tmp_path: Path) -> None:
    for number in range(4):
        cpu(
            tmp_path,
            number,
            (1, "32K", str(number)),
            (2, "1M", str(number)),
            (3, "32768K", "0-1" if number < 2 else "2-3"),
        )
    assert cache_bytes(tmp_path, platform="linux") == 64 * MIB


def test_caches_that_are_not_told(tmp_path: Path) -> None:
    assert cache_bytes(tmp_path, platform="linux") is None
    cpu(tmp_path, 0, (1, "", "0"), (2, "big", "0"))
    assert cache_bytes(tmp_path, platform="linux") is None
