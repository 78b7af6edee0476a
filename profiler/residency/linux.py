"""Memory of processes by `/proc` (proc(5)). Reads only; what to make of it is `profiler.residency.sampler`'s.

`smaps_rollup` divides shared pages among those who share them, but walks the page tables: 12 ms a GiB of small pages.
`status` costs nothing like it, and counts shared pages whole. So the first is read rarely, and the second every time,
less what it counted too much when both were read last. `smaps_rollup` is closed to other users' processes: theirs is
`status` alone. Newer kernels keep its counters per core, so that it may be off by some dozens of pages a core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from profiler.residency.records import MemorySource

__all__ = ["LinuxProcesses", "Memory", "rollup_memory", "status_memory"]

PROC: Final = Path("/proc")
ROLLUP_INTERVAL_NS: Final = 1_000_000_000
ROLLUP_CORE_SHARE: Final = 0.005
"""`smaps_rollup` of a process is read at most that often, and takes at most that share of a core."""
_KIB: Final = 1024


class Memory(msgspec.Struct, frozen=True):
    """Memory of one process, or of a tree, in bytes. Fields as in `ResidencySample`."""

    source: MemorySource
    must_have_bytes: int | None
    file_bytes: int | None
    rss_bytes: int | None
    swap_bytes: int | None


class _Seen(msgspec.Struct, frozen=True):
    """What `status` counted too much when both were read last, bytes, and when both are due again."""

    must_have_bytes: int
    file_bytes: int
    swap_bytes: int
    due_ns: int


class LinuxProcesses:
    """Reads processes again and again; remembers of each what its shared pages were. One thread uses it."""

    def __init__(self, proc: Path = PROC, cpu_clock: Callable[[], int] = time.thread_time_ns) -> None:
        """`cpu_clock` tells the CPU time of the calling thread, ns."""
        self._proc = proc
        self._cpu_clock = cpu_clock
        self._seen: dict[int, _Seen] = {}

    def read(self, pid: int, at_ns: int) -> Memory | None:
        """Memory of one process; `None` if it is gone. `at_ns` is the time now, by any clock that goes on."""
        # A process that ends while it is read gives an empty text or an error: both are no memory.
        status = status_memory(_text(self._proc / str(pid) / "status"))
        seen = self._seen.get(pid)
        if status is None:
            self._seen.pop(pid, None)
            return None
        if seen is None or at_ns >= seen.due_ns:
            started_ns = self._cpu_clock()
            rollup = rollup_memory(_text(self._proc / str(pid) / "smaps_rollup"))
            cost_ns = self._cpu_clock() - started_ns
            if rollup is None:
                return status
            due_ns = at_ns + max(ROLLUP_INTERVAL_NS, round(cost_ns / ROLLUP_CORE_SHARE))
            self._seen[pid] = _Seen(
                must_have_bytes=_more(status.must_have_bytes, rollup.must_have_bytes),
                file_bytes=_more(status.file_bytes, rollup.file_bytes),
                swap_bytes=_more(status.swap_bytes, rollup.swap_bytes),
                due_ns=due_ns,
            )
            return rollup
        return Memory(
            source="smaps_rollup",
            must_have_bytes=_less(status.must_have_bytes, seen.must_have_bytes),
            file_bytes=_less(status.file_bytes, seen.file_bytes),
            rss_bytes=status.rss_bytes,
            swap_bytes=_less(status.swap_bytes, seen.swap_bytes),
        )

    def children(self, pid: int) -> tuple[int, ...]:
        """Processes that this one's threads have started and that still run; empty if it is gone."""
        try:
            tasks = list((self._proc / str(pid) / "task").iterdir())
        except OSError:
            return ()
        return tuple(int(child) for task in tasks for child in _text(task / "children").split())


def rollup_memory(text: str) -> Memory | None:
    """What `smaps_rollup` says; `None` where it is empty or of a kernel that does not split Pss (before 5.3)."""
    sizes = _sizes(text)
    anonymous, shared, files = sizes.get("Pss_Anon"), sizes.get("Pss_Shmem"), sizes.get("Pss_File")
    if anonymous is None or shared is None:
        return None
    return Memory("smaps_rollup", anonymous + shared, files, sizes.get("Rss"), sizes.get("SwapPss", sizes.get("Swap")))


def status_memory(text: str) -> Memory | None:
    """What `status` says; `None` where it is empty, or of a process that has ended and waits for its parent."""
    sizes = _sizes(text)
    anonymous, shared = sizes.get("RssAnon"), sizes.get("RssShmem")
    if anonymous is None or shared is None:
        return None
    return Memory("status", anonymous + shared, sizes.get("RssFile"), sizes.get("VmRSS"), sizes.get("VmSwap"))


def _more(counted: int | None, shared_out: int | None) -> int:
    return 0 if counted is None or shared_out is None else counted - shared_out


def _less(counted: int | None, too_much: int) -> int | None:
    return None if counted is None else max(0, counted - too_much)


def _sizes(text: str) -> dict[str, int]:
    """Bytes by name, of the lines that are in kB."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        number, _, unit = value.strip().partition(" ")
        if unit == "kB" and number.isdecimal():
            found[name] = int(number) * _KIB
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
