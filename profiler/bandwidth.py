"""How fast this machine reads its main memory, which bounds decoding: every active weight is read for each token.

So tok/s on the processor are at most this figure divided by the bytes of the active weights; a data sheet's figure is
never reached. Passes over a buffer much larger than the caches, by one thread and by all cores; the best pass counts,
since whatever disturbs one makes it slower. A GPU's own memory is not measured.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from profiler.machine import sysctl

__all__ = ["Bandwidth", "cache_bytes", "measure", "withheld"]

CACHES_IN_BUFFER: Final = 4
"""A buffer of four times the caches leaves no more than a quarter of it to them."""
LEAST_CACHES_IN_BUFFER: Final = 2
SMALLEST_BYTES: Final = 256 << 20
UNKNOWN_CACHES_BYTES: Final = 128 << 20
"""Taken for caches that the system does not tell. On Apple silicon the last one, of up to 96 MiB, is in no sysctl."""
LARGEST_BYTES: Final = 2 << 30
SHARE_OF_AVAILABLE: Final = 4
"""The buffer takes no more than one part in so many of the memory that is free."""
SHORTEST_PASS_NS: Final = 5_000_000
"""Waking a thread takes about 0.1 ms, and is in every pass. Longer ones would seldom pass undisturbed."""
BUDGET_NS: Final = 1_000_000_000
FEWEST_PASSES: Final = 3
SPREAD_DOUBTFUL: Final = 0.25

METHOD: Final = (
    "read-only numpy reductions (xor of 64-bit words, maximum of 32-bit integers; the better one counts) over a buffer "
    "that its own threads filled, best of several passes of 5 ms or more; GB/s = 1e9 bytes a second"
)

Words = npt.NDArray[np.uint64]
Kernel = Callable[[Words], None]


def _xor(part: Words) -> None:
    np.bitwise_xor.reduce(part)


def _largest(part: Words) -> None:
    part.view(np.int32).max()


KERNELS: Final[tuple[Kernel, ...]] = (_xor, _largest)
"""Both let go of the interpreter while they read. Neither wins everywhere; a sum is slower on one thread, and a dot
product brings threads of its own."""


class Bandwidth(msgspec.Struct, frozen=True):
    """Read bandwidth of main memory in GB/s of 1e9 bytes; `None` where it was not measured, and `reason` says why.

    `cache_bytes` is the size of all last-level caches together, `passes` how many were taken for the lower count of the
    two figures. Any of `doubts` is a reason not to rely on them.
    """

    one_thread_gb_per_s: float | None = None
    all_cores_gb_per_s: float | None = None
    threads: int | None = None
    buffer_bytes: int | None = None
    cache_bytes: int | None = None
    passes: int | None = None
    source: str = "measured"
    method: str = METHOD
    doubts: tuple[str, ...] = ()
    reason: str | None = None


def withheld(reason: str) -> Bandwidth:
    """The record of a measurement that was not made."""
    return Bandwidth(source="none", reason=reason)


def measure(
    threads: int,
    available_bytes: int,
    caches_bytes: int | None,
    *,
    doubts: Sequence[str] = (),
    clock: Callable[[], int],
    budget_ns: int = BUDGET_NS,
    smallest_bytes: int = SMALLEST_BYTES,
    unknown_caches_bytes: int = UNKNOWN_CACHES_BYTES,
) -> Bandwidth:
    """Read a buffer again and again, for about `budget_ns`; `doubts` are what the caller knows against it already.

    Withheld where a buffer of twice the caches would take more than a quarter of the memory that is available.
    """
    caches = unknown_caches_bytes if caches_bytes is None else caches_bytes
    wanted = max(smallest_bytes, CACHES_IN_BUFFER * caches)
    size = min(wanted, LARGEST_BYTES, available_bytes // SHARE_OF_AVAILABLE)
    needed = max(smallest_bytes // 4, LEAST_CACHES_IN_BUFFER * caches)
    if size < needed:
        return withheld(
            f"not enough free memory: {SHARE_OF_AVAILABLE * needed / 2**30:.1f} GiB are needed, "
            f"{available_bytes / 2**30:.1f} GiB are free"
        )
    try:
        # Untouched pages are all one page of zeros, which would be read from the cache: every part is filled below.
        buffer: Words = np.empty(size // 8 // threads * threads, dtype=np.uint64)
        parts = np.split(buffer, threads)
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(np.ndarray.fill, part, 1) for part in parts]:
                done.result()
            alone, together = _take_passes(buffer, parts, pool, clock, budget_ns)
    except MemoryError:
        return withheld(f"the system refused {size / 2**20:.0f} MiB of memory")
    return Bandwidth(
        one_thread_gb_per_s=max(alone),
        all_cores_gb_per_s=max(together),
        threads=threads,
        buffer_bytes=buffer.nbytes,
        cache_bytes=caches_bytes,
        passes=min(len(alone), len(together)) // len(KERNELS),
        doubts=(*doubts, *_doubts(alone, together, buffer.nbytes, caches_bytes)),
    )


def cache_bytes(root: Path = Path("/"), *, platform: str = sys.platform) -> int | None:
    """All last-level caches together; `None` where the system does not say. macOS: never run on a Mac.

    Linux: the highest level in `/sys/devices/system/cpu/cpu*/cache`, each cache once, however many cores share it.
    """
    if platform == "darwin":
        size = sysctl("hw.l3cachesize")
        return int(size) if size and size.isdecimal() and int(size) else None
    found: dict[tuple[int, str], int] = {}
    for folder in root.glob("sys/devices/system/cpu/cpu[0-9]*/cache/index[0-9]*"):
        level, size, shared = (_text(folder / name) for name in ("level", "size", "shared_cpu_list"))
        number, unit = size[:-1], {"K": 1 << 10, "M": 1 << 20}.get(size[-1:])
        if level.isdecimal() and number.isdecimal() and unit:
            found[int(level), shared] = int(number) * unit
    top = max((level for level, _ in found), default=None)
    return sum(size for (level, _), size in found.items() if level == top) or None


def _take_passes(
    buffer: Words, parts: list[Words], pool: ThreadPoolExecutor, clock: Callable[[], int], budget_ns: int
) -> tuple[list[float], list[float]]:
    """GB/s of every pass, of one thread and of all: their turns alternate, so that a disturbance meets both."""
    alone: list[float] = []
    together: list[float] = []
    turns = [(rates, pieces, kernel) for rates, pieces in ((alone, [buffer]), (together, parts)) for kernel in KERNELS]
    times = [1] * len(turns)
    start = clock()
    while len(together) < FEWEST_PASSES * len(KERNELS) or clock() - start < budget_ns:
        for index, (rates, pieces, kernel) in enumerate(turns):
            before = clock()
            # One thread reads in the pool too: both figures then hold the time that waking threads takes.
            for done in [pool.submit(_read, kernel, piece, times[index]) for piece in pieces]:
                done.result()
            took_ns = max(1, clock() - before)
            rates.append(times[index] * buffer.nbytes / took_ns)
            if took_ns < SHORTEST_PASS_NS:
                times[index] = -(-times[index] * SHORTEST_PASS_NS // took_ns)
    return alone, together


def _read(kernel: Kernel, piece: Words, times: int) -> None:
    for _ in range(times):
        kernel(piece)


def _doubts(alone: Sequence[float], together: Sequence[float], size: int, caches_bytes: int | None) -> tuple[str, ...]:
    found: list[str] = []
    if caches_bytes is None:
        found.append("the size of the caches is not known: the figures may be too high")
    elif size < CACHES_IN_BUFFER * caches_bytes * 0.99:
        found.append(f"the buffer is only {size / caches_bytes:.1f} times the caches: the figures may be too high")
    for rates, what in ((alone, "one thread"), (together, "all cores")):
        best, middle = max(rates), statistics.median(_better(rates))
        if middle < best * (1 - SPREAD_DOUBTFUL):
            found.append(f"the passes of {what} differ: {best:.0f} GB/s at best, {middle:.0f} in the middle")
    return tuple(found)


def _better(rates: Sequence[float]) -> Sequence[float]:
    """The passes of the kernel that had the best one."""
    return max((rates[i :: len(KERNELS)] for i in range(len(KERNELS))), key=max)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
