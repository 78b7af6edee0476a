"""NVIDIA GPUs through NVML: memory, the engine's part of it, utilisation, power, energy, clocks. Other makers: nothing.

The driver lists memory by process where it can. In a container it names the host's process ids, or none at all; on
unified memory (GB10, Jetson) it has no figure for the device. So the engine's part is found in this order, and every
reading says which: its own process ids, the one process that was not there before the launch, what the whole device
holds more than before. The last counts everybody's growth as the engine's.

Tested against a made NVML; its figures were not compared with a real GPU's yet.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Collection
from typing import Any, Self

import msgspec

from profiler.residency.records import GpuReading, GpuSource

__all__ = ["GpuBaseline", "NvidiaGpus", "open_gpus"]


class GpuBaseline(msgspec.Struct, frozen=True):
    """A GPU before the engine was launched: what it held, and for which processes."""

    used_bytes: int | None
    pids: frozenset[int]


def open_gpus() -> NvidiaGpus | None:
    """The GPUs of this machine; `None` without the package, the driver or a GPU."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    return NvidiaGpus.open(nvml)


class NvidiaGpus:
    """All GPUs that the module `nvml` (`pynvml`) finds. A figure that the driver refuses is `None`."""

    def __init__(self, nvml: Any, handles: tuple[Any, ...]) -> None:
        self._nvml = nvml
        self._handles = handles

    @classmethod
    def open(cls, nvml: Any) -> Self | None:
        """Start NVML; `None` where it or its driver fails, or finds no GPU."""
        try:
            nvml.nvmlInit()
        except (nvml.NVMLError, OSError):
            return None
        try:
            handles = tuple(nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount()))
        except nvml.NVMLError:
            handles = ()
        if handles:
            return cls(nvml, handles)
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
        return None

    def close(self) -> None:
        """End NVML."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def baseline(self) -> tuple[GpuBaseline, ...]:
        """Every GPU as it is now, to be taken before the engine is launched."""
        return tuple(GpuBaseline(self._used_bytes(h), frozenset(self._processes(h))) for h in self._handles)

    def read(self, pids: Collection[int], baseline: tuple[GpuBaseline, ...] | None) -> tuple[GpuReading, ...]:
        """Every GPU now. `pids` are the engine's; `baseline` is `None` for an engine that ran before we came."""
        listed = [self._processes(handle) for handle in self._handles]
        old = [b.pids for b in baseline] if baseline else [frozenset[int]()] * len(listed)
        # Ids of the host can equal ids of this container by chance: one that was there before is not the engine's.
        ours = {pid for on, before in zip(listed, old, strict=True) for pid in on if pid in pids and pid not in before}
        readings: list[GpuReading] = []
        for index, handle in enumerate(self._handles):
            used = self._used_bytes(handle)
            part = engine_part(listed[index], ours, used, baseline[index] if baseline else None)
            readings.append(self._reading(index, handle, used, part))
        return tuple(readings)

    def _reading(
        self, index: int, handle: Any, used_bytes: int | None, part: tuple[int, GpuSource] | None
    ) -> GpuReading:
        rates = self._ask("nvmlDeviceGetUtilizationRates", handle)
        power_mw = self._ask("nvmlDeviceGetPowerUsage", handle)
        energy_mj = self._ask("nvmlDeviceGetTotalEnergyConsumption", handle)
        sm_mhz = self._ask("nvmlDeviceGetClockInfo", handle, self._nvml.NVML_CLOCK_SM)
        memory_mhz = self._ask("nvmlDeviceGetClockInfo", handle, self._nvml.NVML_CLOCK_MEM)
        return GpuReading(
            index=index,
            engine_bytes=part[0] if part else None,
            engine_source=part[1] if part else None,
            device_used_bytes=used_bytes,
            utilisation=None if rates is None else rates.gpu / 100,
            power_w=None if power_mw is None else power_mw / 1e3,
            energy_j=None if energy_mj is None else energy_mj / 1e3,
            sm_clock_mhz=None if sm_mhz is None else int(sm_mhz),
            memory_clock_mhz=None if memory_mhz is None else int(memory_mhz),
        )

    def _used_bytes(self, handle: Any) -> int | None:
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        return None if memory is None else int(memory.used)

    def _processes(self, handle: Any) -> dict[int, int | None]:
        """Bytes by process id; `None` where the driver lists a process without its memory (WSL, WDDM)."""
        found: dict[int, int | None] = {}
        # A process that computes through Vulkan is listed as a graphics process.
        for query in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            for process in self._ask(query, handle) or ():
                used = process.usedGpuMemory
                found[int(process.pid)] = found.get(int(process.pid)) if used is None else int(used)
        return found

    def _ask(self, query: str, *arguments: Any) -> Any:
        """What the driver answers; `None` where it does not (not supported, no permission, GPU lost)."""
        try:
            return getattr(self._nvml, query)(*arguments)
        except self._nvml.NVMLError:
            return None


def engine_part(
    listed: dict[int, int | None], ours: Collection[int], used_bytes: int | None, before: GpuBaseline | None
) -> tuple[int, GpuSource] | None:
    """The engine's bytes on one GPU, and how they were found; `None` if nothing tells.

    `listed` are the bytes by process on this GPU, `ours` the ids that belong to the engine on any GPU.
    """
    mine = [used for pid, used in listed.items() if pid in ours]
    if ours and None not in mine:
        return sum(used for used in mine if used is not None), "process"
    if before is None:
        return None
    new = [used for pid, used in listed.items() if pid not in before.pids]
    if len(new) == 1 and new[0] is not None and not ours:
        return new[0], "new_process"
    if used_bytes is None or before.used_bytes is None:
        return None
    return max(0, used_bytes - before.used_bytes), "device_delta"
