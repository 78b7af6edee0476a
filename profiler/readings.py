"""Raw counters of the machine and of our processes, and what two readings of them say. `profiler.guards` judges it.

A reading takes no time stamp of its own and keeps nothing. Ours are this process and its descendants, and the
engine's processes and their descendants; all other CPU time of the machine is foreign.

The counters move in steps of 10 ms, and the kernel charges a whole step to whoever runs at its end. Below
`SHORTEST_NS` that error alone reaches the thresholds, so shares of CPU time are then unknown. Only the process trees
are read, not the list of all processes: on a machine with a thousand of them that list costs 30 ms.

On Linux everything comes from `/proc` (proc(5)). Elsewhere psutil reads the process times, and page faults of a
process are unknown; that path was never run on a Mac.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from profiler.records import GuardSample

__all__ = ["ProcessTimes", "Readings", "nice_share", "read_machine", "sample"]

SHORTEST_NS: Final = 200_000_000
"""Two cores have 40 steps in it, so one step charged wrongly is 2.5 % of all cores."""

ProcessKey = tuple[int, int]
"""A process id and when that process started: ids are used again."""

_PROC: Final = Path("/proc")
_LINUX: Final = sys.platform == "linux"
_NS_PER_S: Final = 1_000_000_000


class ProcessTimes(msgspec.Struct, frozen=True):
    """CPU time of one of our processes, and of its children that have ended; page faults that went to the disk."""

    own_ns: int
    reaped_ns: int
    major_faults: int | None
    engine: bool


class Readings(msgspec.Struct, frozen=True):
    """Counters at one time, growing from an unknown start; `busy_ns` of all cores, with niced work, without steal."""

    at_ns: int
    total_ns: int
    busy_ns: int
    nice_ns: int
    steal_ns: int | None
    swap_in_bytes: int | None
    processes: dict[ProcessKey, ProcessTimes]


def sample(before: Readings, after: Readings, *, lateness_ns: int = 0) -> GuardSample:
    """What happened between two readings. A process that vanished in between is fine."""
    interval_ns = after.at_ns - before.at_ns
    total_ns = after.total_ns - before.total_ns
    measurable = interval_ns >= SHORTEST_NS and total_ns > 0
    foreign_ns = after.busy_ns - before.busy_ns - _ours_ns(before.processes, after.processes)
    steal_ns = _difference(before.steal_ns, after.steal_ns)
    return GuardSample(
        at_ns=after.at_ns,
        interval_ns=interval_ns,
        foreign_cpu=_share(foreign_ns, total_ns) if measurable else None,
        steal=_share(steal_ns, total_ns) if measurable and steal_ns is not None else None,
        swap_in_bytes=_difference(before.swap_in_bytes, after.swap_in_bytes),
        major_faults=_engine_faults(before.processes, after.processes),
        lateness_ns=lateness_ns,
    )


def nice_share(before: Readings, after: Readings) -> float | None:
    """Share of all cores that niced processes used, ours too; a part of the foreign load is often of this kind."""
    total_ns = after.total_ns - before.total_ns
    if after.at_ns - before.at_ns < SHORTEST_NS or total_ns <= 0:
        return None
    return _share(after.nice_ns - before.nice_ns, total_ns)


def read_machine(engine_pids: Iterable[int], at_ns: int) -> Readings:
    """Read all counters now; `at_ns` is the caller's stamp."""
    cpu: Any = psutil.cpu_times()
    times = {name: _from_seconds(getattr(cpu, name, 0.0)) for name in ("user", "nice", "system", "irq", "softirq")}
    waiting = {name: _from_seconds(getattr(cpu, name, 0.0)) for name in ("idle", "iowait", "steal")}
    return Readings(
        at_ns=at_ns,
        total_ns=sum(times.values()) + sum(waiting.values()),
        busy_ns=sum(times.values()),
        nice_ns=times["nice"],
        steal_ns=waiting["steal"] if hasattr(cpu, "steal") else None,
        swap_in_bytes=swapped_in_bytes() if _LINUX else _psutil_swapped_in_bytes(),
        processes=_trees(engine_pids, _linux_process if _LINUX else _psutil_process),
    )


def swapped_in_bytes(proc: Path = _PROC) -> int | None:
    """Bytes read back from swap since the start, whole machine."""
    for line in _text(proc / "vmstat").splitlines():
        if line.startswith("pswpin "):
            return int(line.split()[1]) * resource.getpagesize()
    return None


def linux_process(pid: int, *, engine: bool, proc: Path = _PROC) -> tuple[ProcessKey, ProcessTimes, list[int]] | None:
    """A process by `/proc/PID/stat`, with the ids of its children; `None` if it is gone."""
    # The name, in brackets, may hold spaces and brackets: fields count from the last one.
    fields = _text(proc / str(pid) / "stat").rpartition(")")[2].split()
    if not fields:
        return None
    major_faults, user, system, children_user, children_system, start = (
        int(fields[i]) for i in (9, 11, 12, 13, 14, 19)
    )
    tick_ns = _NS_PER_S // os.sysconf("SC_CLK_TCK")
    times = ProcessTimes(
        own_ns=(user + system) * tick_ns,
        reaped_ns=(children_user + children_system) * tick_ns,
        major_faults=major_faults,
        engine=engine,
    )
    return (pid, start), times, _children(proc / str(pid) / "task")


def _linux_process(pid: int, engine: bool) -> tuple[ProcessKey, ProcessTimes, list[int]] | None:
    return linux_process(pid, engine=engine)


def _psutil_process(pid: int, engine: bool) -> tuple[ProcessKey, ProcessTimes, list[int]] | None:
    try:
        process = psutil.Process(pid)
        cpu: Any = process.cpu_times()
        start = int(process.create_time() * 1000)
        children = [child.pid for child in process.children()]
    except psutil.Error:
        return None
    reaped_s = getattr(cpu, "children_user", 0.0) + getattr(cpu, "children_system", 0.0)
    times = ProcessTimes(_from_seconds(cpu.user + cpu.system), _from_seconds(reaped_s), None, engine)
    return (pid, start), times, children


def _trees(
    engine_pids: Iterable[int], read: Callable[[int, bool], tuple[ProcessKey, ProcessTimes, list[int]] | None]
) -> dict[ProcessKey, ProcessTimes]:
    """Our tree and the engine's. The engine's last, so that a process of both counts as the engine's."""
    found: dict[ProcessKey, ProcessTimes] = {}
    seen: set[tuple[int, bool]] = set()
    waiting = [*((pid, True) for pid in engine_pids), (os.getpid(), False)]
    while waiting:
        pid, engine = waiting.pop()
        if (pid, engine) in seen or (process := read(pid, engine)) is None:
            continue
        seen.add((pid, engine))
        key, times, children = process
        found[key] = times
        waiting += [(child, engine) for child in children]
    return found


def _children(tasks: Path) -> list[int]:
    """Children of a process: those of each of its threads."""
    try:
        return [int(pid) for task in tasks.iterdir() for pid in _text(task / "children").split()]
    except OSError:
        return []


def _ours_ns(before: dict[ProcessKey, ProcessTimes], after: dict[ProcessKey, ProcessTimes]) -> int:
    """CPU time of our processes between two readings, with that of children which began and ended in between.

    A child that ends hands its whole life's time to its parent; what was counted of it before is taken off again.
    """
    none = ProcessTimes(own_ns=0, reaped_ns=0, major_faults=None, engine=False)
    own_ns = sum(max(0, now.own_ns - before.get(key, none).own_ns) for key, now in after.items())
    reaped_ns = sum(max(0, now.reaped_ns - before.get(key, none).reaped_ns) for key, now in after.items())
    gone_ns = sum(then.own_ns + then.reaped_ns for key, then in before.items() if key not in after)
    return own_ns + max(0, reaped_ns - gone_ns)


def _engine_faults(before: dict[ProcessKey, ProcessTimes], after: dict[ProcessKey, ProcessTimes]) -> int | None:
    """Major faults of the engine's processes; `None` without such processes or where the system does not say."""
    faults: list[int] = []
    for key, now in after.items():
        if now.engine and now.major_faults is not None:
            then = before.get(key)
            faults.append(now.major_faults - (then.major_faults or 0 if then else 0))
    return sum(faults) if faults else None


def _psutil_swapped_in_bytes() -> int | None:
    try:
        return psutil.swap_memory().sin
    except OSError:
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _from_seconds(seconds: float) -> int:
    return round(seconds * _NS_PER_S)


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)


def _share(part_ns: int, total_ns: int) -> float:
    return min(1.0, max(0, part_ns) / total_ns)
