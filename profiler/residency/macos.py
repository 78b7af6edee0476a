"""Memory of a process on macOS: `phys_footprint`, what Activity Monitor shows, with what the GPU holds of it.

RSS misses Metal's buffers and counts mapped weights, so it is no stand-in. The call is `proc_pid_rusage` of libproc
(sys/resource.h, `rusage_info_v4`). Not verified: no Mac has run this.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Final

import psutil

from profiler.residency.linux import Memory

__all__ = ["children", "footprint_memory", "read_process"]

RUSAGE_INFO_V4: Final = 4
_BUFFER_BYTES: Final = 16 + 64 * 8
"""A uuid, then 64-bit fields: more than version 4 has, so that a kernel that writes more stays inside."""
_RESIDENT_FIELD: Final = 6
_FOOTPRINT_FIELD: Final = 7
"""After `ri_uuid`: user_time, system_time, pkg_idle_wkups, interrupt_wkups, pageins, wired_size, resident_size,
phys_footprint."""

Rusage = Callable[[int], bytes | None]


def read_process(pid: int, _at_ns: int = 0, rusage: Rusage | None = None) -> Memory | None:
    """Memory of one process; `None` if it is gone or belongs to another user."""
    return footprint_memory((rusage or _rusage)(pid))


def footprint_memory(info: bytes | None) -> Memory | None:
    """What a `rusage_info_v4` says. The footprint holds compressed and swapped pages, but no mapped files."""
    if info is None:
        return None
    fields = memoryview(info[16 : 16 + 64 * 8]).cast("Q")
    resident, footprint = int(fields[_RESIDENT_FIELD]), int(fields[_FOOTPRINT_FIELD])
    return Memory("phys_footprint", must_have_bytes=footprint, file_bytes=None, rss_bytes=resident, swap_bytes=None)


def children(pid: int) -> tuple[int, ...]:
    """Processes that this one has started and that still run; empty if it is gone."""
    try:
        return tuple(child.pid for child in psutil.Process(pid).children())
    except psutil.Error:
        return ()


def _rusage(pid: int) -> bytes | None:
    library = _libproc()
    if library is None:
        return None
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    failed: int = library.proc_pid_rusage(ctypes.c_int(pid), ctypes.c_int(RUSAGE_INFO_V4), ctypes.byref(buffer))
    return None if failed else buffer.raw


@cache
def _libproc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("/usr/lib/libproc.dylib")
        library.proc_pid_rusage.restype = ctypes.c_int
    except (OSError, AttributeError):
        return None
    return library
