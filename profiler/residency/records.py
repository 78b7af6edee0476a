"""Where the memory goes, as records: what the engine said it allocated, and what it was seen to hold.

Bytes throughout; unknown is `None`, never 0. `profiler.records` has the records of requests and runs.
"""

from __future__ import annotations

from typing import Literal

import msgspec

MemorySource = Literal["smaps_rollup", "status", "phys_footprint", "rss"]
GpuSource = Literal["process", "new_process", "device_delta"]


class LoadSizes(msgspec.Struct, frozen=True):
    """What an engine says it allocated when it loaded, bytes; `None` is what its log does not say.

    `mapped_weights_bytes` is the part of `weights_bytes` that is mapped from the model file: the system may drop and
    read it again. `kv_bytes` holds recurrent states too, `compute_bytes` the output buffer. `device_bytes` is the part
    of all three that lies outside the host's memory. No engine counts what its libraries and its runtime take besides.
    """

    weights_bytes: int | None
    mapped_weights_bytes: int | None
    kv_bytes: int | None
    compute_bytes: int | None
    device_bytes: int | None


class GpuReading(msgspec.Struct, frozen=True):
    """One GPU at one time, by its driver; what the driver does not say is `None`.

    `engine_bytes` is the engine's part of its memory, and `engine_source` how that was found: `process` (the driver
    lists the engine's process), `new_process` (it lists one process that was not there before, as in a container, where
    it names the host's process ids), or `device_delta` (what the whole GPU holds more than before the launch).
    `power_w` and `utilisation` (share of time that a kernel ran) are averages that the driver takes, up to a second.
    `energy_j` counts from an unknown start.
    """

    index: int
    engine_bytes: int | None
    engine_source: GpuSource | None
    device_used_bytes: int | None
    utilisation: float | None
    power_w: float | None
    energy_j: float | None
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None


class ResidencySample(msgspec.Struct, frozen=True):
    """Memory of the engine's process tree at one time, in bytes; `lateness_ns` is how late the sampler woke.

    `must_have_bytes` cannot be dropped (anonymous and shared memory), `file_bytes` can (pages of files). `source` says
    where they were read: `smaps_rollup` (shared pages divided among those that share them; how it is followed between
    two readings is in `profiler.residency.linux`), `status` (shared pages counted whole for each process),
    `phys_footprint` (macOS: what Activity Monitor shows, with GPU memory), or `rss`.
    `processes` were read; 0 says that the engine is gone.
    """

    at_ns: int
    lateness_ns: int
    processes: int
    source: MemorySource | None
    must_have_bytes: int | None = None
    file_bytes: int | None = None
    rss_bytes: int | None = None
    swap_bytes: int | None = None
    gpus: tuple[GpuReading, ...] = ()
