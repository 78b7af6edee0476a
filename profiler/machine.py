"""What this machine is: processor, cores, memory, GPUs and the versions that a measurement depends on.

Facts that stay the same during a run; what changes (load, faults) belongs to `profiler.guards`. Nothing here fails
for a missing driver, library or file: what cannot be found out is `None` or absent.

Inside a container the limits of its control group count where they are lower than the machine: an engine with a
thread for each of 64 cores crawls under a quota of 2. Both versions of the cgroup files are read, from the
process's own group up to the root, since each ancestor limits too. macOS is read through sysctl: that path was
never run on a Mac.
"""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from profiler.records import Machine

__all__ = ["Gpu", "available_memory_bytes", "gpus", "machine", "nvml_gpus", "sysctl", "versions"]

ENGINE_PACKAGES: Final = ("xllamacpp", "llama-cpp-python", "mlx", "mlx-lm", "openai")
"""Distributions whose version decides what an engine does."""

_ROOT: Final = Path("/")
_NO_LIMIT_BYTES: Final = 1 << 60
"""cgroup v1 says "no limit" as a number near 2^63."""


class Gpu(msgspec.Struct, frozen=True):
    """A GPU as its driver names it. Memory is `None` where it shares the system's (GB10, Jetson)."""

    name: str
    memory_bytes: int | None = None
    used_bytes: int | None = None


def machine(root: Path = _ROOT) -> Machine:
    """The machine as a measurement may use it; `root` is where `/proc` and `/sys` are looked up."""
    cores = _least(psutil.cpu_count(), _affinity(), _quota_cores(root))
    physical = psutil.cpu_count(logical=False)
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(root),
        cores_logical=cores,
        cores_physical=None if physical is None else _least(physical, cores),
        memory_bytes=_least(psutil.virtual_memory().total, _memory_limit_bytes(root)),
        gpus=tuple(gpu.name for gpu in gpus()),
    )


def available_memory_bytes(root: Path = _ROOT) -> int:
    """Bytes that a new process could take without swapping, within the control group's limit."""
    free = psutil.virtual_memory().available
    for folder in _groups(root, "memory"):
        limit = _first_number(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _first_number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit is not None and limit < _NO_LIMIT_BYTES and used is not None:
            # Page cache that was not touched lately counts as used, but is given back on demand.
            free = min(free, max(0, limit - used + _reclaimable_bytes(folder)))
    return free


def gpus() -> tuple[Gpu, ...]:
    """NVIDIA GPUs by NVML; empty without the package, the driver or a GPU. Other makers are not asked."""
    try:
        return nvml_gpus(importlib.import_module("pynvml"))
    except ImportError:
        return ()


def nvml_gpus(nvml: Any) -> tuple[Gpu, ...]:
    """The GPUs that the module `nvml` (`pynvml`) finds; empty where it or its driver fails."""
    try:
        nvml.nvmlInit()
    except (nvml.NVMLError, OSError):
        return ()
    try:
        return tuple(_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError:
        return ()
    finally:
        nvml.nvmlShutdown()


def versions() -> dict[str, str]:
    """Versions of Python, of dyno and of the engine packages that are installed.

    `llmdyno` is `source` in a checkout that was not installed.
    """
    found = {"python": platform.python_version(), "llmdyno": _version("llmdyno") or "source"}
    return found | {name: v for name in ENGINE_PACKAGES if (v := _version(name)) is not None}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    name = name.decode() if isinstance(name, bytes) else str(name)
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError:
        return Gpu(name)
    return Gpu(name, memory_bytes=int(memory.total), used_bytes=int(memory.used))


def _cpu_name(root: Path) -> str | None:
    if platform.system() == "Darwin":
        return sysctl("machdep.cpu.brand_string")
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model", "Hardware"} and value.strip():
            return value.strip()
    # Most ARM machines name themselves in the device tree alone.
    return _text(root / "proc/device-tree/model").strip("\0\n ") or platform.processor() or None


def sysctl(name: str) -> str | None:
    """A value of macOS's sysctl; `None` where there is none, or no macOS."""
    try:
        reply = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return reply.stdout.strip() or None


def _affinity() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _quota_cores(root: Path) -> int | None:
    """Whole cores of the tightest CPU quota, at least 1; `None` without one."""
    cores: list[float] = []
    for folder in _groups(root, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        quota = quota or _text(folder / "cpu.cfs_quota_us")
        period = period or _text(folder / "cpu.cfs_period_us")
        if _number(quota) and _number(period):
            cores.append(int(quota) / int(period))
    return max(1, int(min(cores))) if cores else None


def _memory_limit_bytes(root: Path) -> int | None:
    limits = [
        _first_number(folder / "memory.max", folder / "memory.limit_in_bytes") for folder in _groups(root, "memory")
    ]
    return min((n for n in limits if n is not None and n < _NO_LIMIT_BYTES), default=None)


def _reclaimable_bytes(folder: Path) -> int:
    lines = (line.partition(" ") for line in _text(folder / "memory.stat").splitlines())
    counts = {key: _number(value) for key, _, value in lines}
    return counts.get("total_inactive_file") or counts.get("inactive_file") or 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control groups that may hold the controller's files, innermost first."""
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            top = mounted
        elif controller in names.split(","):
            top = mounted / controller
        else:
            continue
        folder = top / path.strip("/")
        # Without a cgroup namespace the path is the host's and may be absent here: the root then has the limit.
        while folder != top:
            yield folder
            folder = folder.parent
        yield top


def _first_number(*files: Path) -> int | None:
    return next((n for file in files if (n := _number(_text(file))) is not None), None)


def _number(text: str) -> int | None:
    """A count as the kernel writes it; `None` for `max`, `-1` and nothing."""
    stripped = text.strip()
    return int(stripped) if stripped.isdecimal() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _least(*counts: int | None) -> int | None:
    return min((n for n in counts if n is not None), default=None)
