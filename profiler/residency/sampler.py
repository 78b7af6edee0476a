"""Where the memory goes while an engine works: a thread samples its process tree and the GPUs. Judges nothing.

Ten times a second, unless samples cost more than a hundredth of that: the sampler must not become the load that it
measures. Every sample says how late it was.
`profiler.residency.summary` makes figures of the samples.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol, Self

import psutil

from profiler.residency import macos
from profiler.residency.linux import LinuxProcesses, Memory
from profiler.residency.records import GpuReading, MemorySource, ResidencySample
from profiler.run_files import StoreError

__all__ = ["CORE_SHARE", "INTERVAL_S", "MemorySampler", "Tree", "read_psutil", "this_system"]

INTERVAL_S: Final = 0.1
CORE_SHARE: Final = 0.01
"""The share of a core that sampling may take; above it, samples come further apart."""
TREE_AGE_NS: Final = 1_000_000_000
"""How old the list of an engine's child processes may be: finding them reads a file for each thread."""
_NS_PER_S: Final = 1_000_000_000

ReadProcess = Callable[[int, int], Memory | None]
"""Memory of a process by its id, and the time now in ns; `None` if it is gone."""
Children = Callable[[int], tuple[int, ...]]


class ReadsGpus(Protocol):
    """What reads the GPUs for a sample: the engine's process ids in, a reading of each GPU out."""

    def __call__(self, pids: Collection[int], /) -> tuple[GpuReading, ...]: ...


class Tree:
    """Memory of processes and of all their descendants, at most `TREE_AGE_NS` behind in who these are."""

    def __init__(self, read: ReadProcess, children: Children) -> None:
        self._read = read
        self._children = children
        self._roots: tuple[int, ...] = ()
        self._pids: tuple[int, ...] = ()
        self._found_ns: int | None = None

    def read(self, roots: Iterable[int], at_ns: int) -> dict[int, Memory]:
        """Memory by process id; who has ended is left out."""
        wanted = tuple(roots)
        if self._found_ns is None or wanted != self._roots or at_ns - self._found_ns >= TREE_AGE_NS:
            self._roots, self._pids, self._found_ns = wanted, self._descend(wanted), at_ns
        read = {pid: self._read(pid, at_ns) for pid in self._pids}
        return {pid: memory for pid, memory in read.items() if memory is not None}

    def _descend(self, roots: tuple[int, ...]) -> tuple[int, ...]:
        found: dict[int, None] = {}
        waiting = list(roots)
        while waiting:
            pid = waiting.pop()
            if pid not in found:
                found[pid] = None
                waiting += self._children(pid)
        return tuple(found)


class MemorySampler:
    """Samples in a thread of its own, from `start` to `stop`; also a context manager.

    `engine_pids` is called in that thread, before every sample. An engine without a process here (a remote server) gets
    one sample, which says so. A sample that the sink cannot store ends the sampling, not the measurement: `error` then
    says why.
    """

    def __init__(
        self,
        engine_pids: Callable[[], Iterable[int]],
        sink: Callable[[ResidencySample], None],
        interval_s: float = INTERVAL_S,
        *,
        gpus: ReadsGpus | None = None,
        tree: Tree | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
        cpu_clock: Callable[[], int] = time.thread_time_ns,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """`wait(seconds)` sleeps and says whether to stop; `clock` must be the one that stamps the requests.

        `cpu_clock` tells the CPU time of the calling thread, ns.
        """
        self.error: StoreError | None = None
        self._engine_pids = engine_pids
        self._sink = sink
        self._interval_ns = round(interval_s * _NS_PER_S)
        self._gpus = gpus
        self._tree = tree or this_system()
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the first sample and go on in the background."""
        first = self._sample(self._clock(), lateness_ns=0)
        if self._stored(first) and first.processes:
            self._thread = threading.Thread(target=self._watch, args=(first,), name="dyno-memory", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end. May be called twice."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _watch(self, last: ResidencySample) -> None:
        stopping, costs_ns = False, (0, 0)
        while not stopping:
            # Now and then one sample is costlier by design (see `linux`): what two in a row cost is the rule.
            due_ns = last.at_ns + max(self._interval_ns, round(min(costs_ns) / CORE_SHARE))
            stopping = self._wait(max(0, due_ns - self._clock()) / _NS_PER_S)
            before_ns, at_ns = self._cpu_clock(), self._clock()
            last = self._sample(at_ns, lateness_ns=0 if stopping else max(0, at_ns - due_ns))
            if not self._stored(last):
                return
            costs_ns = (costs_ns[1], self._cpu_clock() - before_ns)

    def _stored(self, sample: ResidencySample) -> bool:
        try:
            self._sink(sample)
        except StoreError as error:
            self.error = error
            return False
        return True

    def _sample(self, at_ns: int, *, lateness_ns: int) -> ResidencySample:
        by_pid = self._tree.read(self._engine_pids(), at_ns)
        read = tuple(by_pid.values())
        return ResidencySample(
            at_ns=at_ns,
            lateness_ns=lateness_ns,
            processes=len(read),
            # A tree read in two ways is as good as the worse one.
            source=next((source for source in _WORST_FIRST if any(m.source == source for m in read)), None),
            must_have_bytes=_total(memory.must_have_bytes for memory in read),
            file_bytes=_total(memory.file_bytes for memory in read),
            rss_bytes=_total(memory.rss_bytes for memory in read),
            swap_bytes=_total(memory.swap_bytes for memory in read),
            gpus=self._gpus(tuple(by_pid)) if self._gpus is not None and read else (),
        )


_WORST_FIRST: Final[tuple[MemorySource, ...]] = ("rss", "status", "phys_footprint", "smaps_rollup")


def this_system() -> Tree:
    """How process trees are read here."""
    if sys.platform == "linux":
        processes = LinuxProcesses()
        return Tree(processes.read, processes.children)
    if sys.platform == "darwin":
        return Tree(macos.read_process, macos.children)
    return Tree(read_psutil, macos.children)


def read_psutil(pid: int, _at_ns: int = 0) -> Memory | None:
    """RSS alone, where nothing better is known; `None` if the process is gone."""
    try:
        resident = int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
    return Memory("rss", must_have_bytes=None, file_bytes=None, rss_bytes=resident, swap_bytes=None)


def _total(sizes: Iterable[int | None]) -> int | None:
    """The sum; `None` if there is nothing to sum, or one of them is not known."""
    listed = list(sizes)
    known = [size for size in listed if size is not None]
    return sum(known) if known and len(known) == len(listed) else None
