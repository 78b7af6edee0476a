"""The memory sampler: who is read, when, what it costs, and an engine that dies while it is sampled."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from itertools import cycle

import pytest

from profiler.residency.linux import Memory
from profiler.residency.records import GpuReading, ResidencySample
from profiler.residency.sampler import MemorySampler, Tree, read_psutil
from profiler.store import StoreError

S = 1_000_000_000
MS = 1_000_000
ONE = Memory("smaps_rollup", must_have_bytes=100, file_bytes=50, rss_bytes=160, swap_bytes=1)
NO_CHILDREN: dict[int, tuple[int, ...]] = {}


class Machine:
    """Processes of a made machine; a pid without memory is gone. Counts how often children were asked for."""

    def __init__(self, memory: dict[int, Memory], started: dict[int, tuple[int, ...]] = NO_CHILDREN) -> None:
        self.memory = memory
        self.started = started
        self.asked = 0

    def children(self, pid: int) -> tuple[int, ...]:
        self.asked += 1
        return self.started.get(pid, ())

    def tree(self) -> Tree:
        return Tree(lambda pid, _: self.memory.get(pid), self.children)


class Clock:
    """Moves only when the sampler waits; each wait oversleeps by the next of `late_ns`, the last one stops.

    Samples take `costs_ns` of CPU time in turn: the CPU clock is read before and after each.
    """

    def __init__(self, late_ns: list[int], costs_ns: Sequence[int] = (0,)) -> None:
        self.now_ns = 100 * S
        self.waited_s: list[float] = []
        self._late_ns = late_ns
        self._steps_ns = cycle([step for cost_ns in costs_ns for step in (0, cost_ns)])
        self._cpu_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def cpu(self) -> int:
        self._cpu_ns += next(self._steps_ns)
        return self._cpu_ns

    def wait(self, seconds: float) -> bool:
        self.waited_s.append(seconds)
        self.now_ns += round(seconds * S) + self._late_ns.pop(0)
        return not self._late_ns


def sampled(machine: Machine, clock: Clock, pids: tuple[int, ...] = (7,)) -> list[ResidencySample]:
    taken: list[ResidencySample] = []
    with MemorySampler(
        lambda: pids, taken.append, tree=machine.tree(), clock=clock, cpu_clock=clock.cpu, wait=clock.wait
    ):
        pass
    return taken


def test_ten_samples_a_second_each_with_its_lateness() -> None:
    clock = Clock([0, 30 * MS, 0, 40 * MS])
    taken = sampled(Machine({7: ONE}), clock)
    # The first is taken by `start`; the last wait was ended by `stop`, so it says nothing of lateness.
    assert [s.lateness_ns for s in taken] == [0, 0, 30 * MS, 0, 0]
    assert [s.at_ns - 100 * S for s in taken] == [0, 100 * MS, 230 * MS, 330 * MS, 470 * MS]
    assert clock.waited_s == [0.1] * 4


def test_costly_samples_come_further_apart_to_stay_under_a_hundredth_of_a_core() -> None:
    clock = Clock([0] * 5, costs_ns=[5 * MS])
    taken = sampled(Machine({7: ONE}), clock)
    assert clock.waited_s == [0.1, 0.1, 0.5, 0.5, 0.5]
    assert [s.lateness_ns for s in taken] == [0] * 6


def test_one_costly_sample_in_between_changes_nothing() -> None:
    clock = Clock([0] * 6, costs_ns=[MS // 2, 90 * MS])
    sampled(Machine({7: ONE}), clock)
    assert clock.waited_s == [0.1] * 6


def test_a_tree_is_summed_and_as_good_as_its_worst_source() -> None:
    helper = Memory("status", must_have_bytes=10, file_bytes=5, rss_bytes=15, swap_bytes=None)
    machine = Machine({7: ONE, 8: helper, 9: ONE}, {7: (8,), 8: (9, 7)})
    (first, _) = sampled(machine, Clock([0]))
    assert (first.processes, first.source) == (3, "status")
    assert (first.must_have_bytes, first.file_bytes, first.rss_bytes) == (210, 105, 335)
    assert first.swap_bytes is None, "one of them is not known"


def test_children_are_looked_for_once_a_second_and_when_the_engine_changes() -> None:
    machine = Machine({7: ONE, 8: ONE})
    tree = machine.tree()
    for at_ns in (0, S // 10, S - 1):
        assert list(tree.read((7,), at_ns)) == [7]
    assert machine.asked == 1
    machine.started = {7: (8,)}
    assert sorted(tree.read((7,), S)) == [7, 8]
    assert machine.asked == 3
    assert list(tree.read((8,), S + 1)) == [8]


def test_an_engine_that_dies_leaves_samples_without_memory() -> None:
    machine = Machine({7: ONE})
    clock = Clock([0, 0, 0])

    def wait(seconds: float) -> bool:
        machine.memory.clear()
        return clock.wait(seconds)

    taken: list[ResidencySample] = []
    with MemorySampler(lambda: (7,), taken.append, tree=machine.tree(), clock=clock, wait=wait):
        pass
    assert [s.processes for s in taken] == [1, 0, 0, 0]
    last = taken[-1]
    assert (last.source, last.must_have_bytes, last.file_bytes, last.rss_bytes) == (None, None, None, None)


def test_an_engine_without_a_process_here_gets_one_sample_and_no_thread() -> None:
    taken = sampled(Machine({}), Clock([0, 0]), pids=())
    assert [s.processes for s in taken] == [0]


def test_the_gpus_are_read_for_the_whole_tree() -> None:
    asked: list[tuple[int, ...]] = []
    gpu = GpuReading(0, 1, "process", 2, 0.5, 90.0, None, None, None)

    def gpus(pids: Collection[int]) -> tuple[GpuReading, ...]:
        asked.append(tuple(sorted(pids)))
        return (gpu,)

    taken: list[ResidencySample] = []
    machine, clock = Machine({7: ONE, 8: ONE}, {7: (8,)}), Clock([0])
    with MemorySampler(
        lambda: (7,), taken.append, gpus=gpus, tree=machine.tree(), clock=clock, cpu_clock=clock.cpu, wait=clock.wait
    ):
        pass
    assert asked == [(7, 8)] * 2
    assert taken[0].gpus == (gpu,)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_sink_that_fails_ends_the_sampling_and_says_why(fails_at: int) -> None:
    taken: list[ResidencySample] = []

    def full(sample: ResidencySample) -> None:
        taken.append(sample)
        if len(taken) == fails_at:
            raise StoreError("disk full")

    clock = Clock([0] * 5)
    sampler = MemorySampler(lambda: (7,), full, tree=Machine({7: ONE}).tree(), clock=clock, wait=clock.wait)
    with sampler:
        pass
    assert str(sampler.error) == "disk full"
    assert len(taken) == fails_at
    sampler.stop()


def test_a_real_process_is_killed_while_it_is_sampled() -> None:
    taken: list[ResidencySample] = []
    threads = threading.active_count()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with MemorySampler(lambda: (process.pid,), taken.append, interval_s=0.01) as sampler:
            until(lambda: any(s.must_have_bytes for s in taken))
            process.kill()
            process.wait()
            until(lambda: taken[-1].processes == 0)
        assert sampler.error is None
    assert threading.active_count() == threads
    assert taken[-1].rss_bytes is None


def until(done: object) -> None:
    assert callable(done)
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_where_nothing_better_is_known_only_resident_memory_is_said() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        read = read_psutil(process.pid)
        process.kill()
    assert read is not None
    assert (read.source, read.must_have_bytes, read.file_bytes) == ("rss", None, None)
    assert read.rss_bytes
    assert read_psutil(process.pid) is None
