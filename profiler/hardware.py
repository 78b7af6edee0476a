"""What `dyno doctor` says of the hardware beyond `profiler.machine`: swap, GPUs with their drivers, unified memory.

Nothing here fails for a missing driver or library; what cannot be found out is `None` or absent. NVIDIA GPUs are read
through NVML. AMD GPUs are read through `amdsmi`, which comes with ROCm, and Apple's unified memory through sysctl and
MLX: neither path was ever run on such a machine, and what they find is marked as not verified.
"""

from __future__ import annotations

import importlib
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import msgspec
import psutil

from profiler import machine

__all__ = ["GpuState", "Swap", "UnifiedMemory", "gpu_states", "swap", "unified_memory"]

_MIB: Final = 1 << 20
_ASK_MLX: Final = "import mlx.core as mx; print(mx.device_info()['max_recommended_working_set_size'])"
"""In a process of its own: no engine is imported here, and a native fault there is not ours."""

Import = Callable[[str], ModuleType]


class Swap(msgspec.Struct, frozen=True):
    """Swap space of the machine (not of a container), bytes. Weights that are swapped out make an engine crawl."""

    total_bytes: int
    used_bytes: int


class GpuState(msgspec.Struct, frozen=True):
    """A GPU, its driver and its memory in bytes; memory is `None` where it shares the system's. `source`: who says."""

    name: str
    memory_bytes: int | None
    used_bytes: int | None
    driver: str | None = None
    source: str = "nvml"
    verified: bool = True


class UnifiedMemory(msgspec.Struct, frozen=True):
    """Memory that the processor and the GPU share (Apple), bytes, and how much of it the GPU may keep wired.

    A model with its cache that is larger than `wired_limit_bytes` is paged or refused. Not verified on a Mac.
    """

    total_bytes: int | None
    wired_limit_bytes: int | None
    source: str
    verified: bool = False


def swap() -> Swap | None:
    """Swap space now; `None` where the system does not say."""
    with warnings.catch_warnings():
        # psutil warns where a container hides what was swapped in and out, which is not asked here.
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            found: Any = psutil.swap_memory()
        except (OSError, RuntimeError):
            return None
    return Swap(int(found.total), int(found.used))


def gpu_states(load: Import = importlib.import_module) -> tuple[GpuState, ...]:
    """The GPUs that NVML and `amdsmi` find; empty without them."""
    return (*_nvidia(load), *_amd(load))


def unified_memory(
    *,
    system: str = sys.platform,
    processor: str | None = None,
    sysctl: Callable[[str], str | None] = machine.sysctl,
    ask_mlx: Callable[[], str | None] | None = None,
) -> UnifiedMemory | None:
    """Apple's unified memory; `None` elsewhere.

    `iogpu.wired_limit_mb` is 0 unless it was set; the limit in force is then what Metal recommends, which MLX tells.
    """
    if system != "darwin" or (processor or platform.machine()) != "arm64":
        return None
    total = _number(sysctl("hw.memsize"))
    limit_mib = _number(sysctl("iogpu.wired_limit_mb"))
    if limit_mib:
        return UnifiedMemory(total, limit_mib * _MIB, "sysctl iogpu.wired_limit_mb")
    told = _number((ask_mlx or _ask_mlx)())
    if told:
        return UnifiedMemory(total, told, "mlx max_recommended_working_set_size")
    return UnifiedMemory(total, None, "sysctl")


def _nvidia(load: Import) -> tuple[GpuState, ...]:
    try:
        nvml: Any = load("pynvml")
    except ImportError:
        return ()
    found = machine.nvml_gpus(nvml)
    driver = _nvidia_driver(nvml) if found else None
    return tuple(GpuState(gpu.name, gpu.memory_bytes, gpu.used_bytes, driver) for gpu in found)


def _nvidia_driver(nvml: Any) -> str | None:
    try:
        nvml.nvmlInit()
    except (nvml.NVMLError, OSError):
        return None
    try:
        said = nvml.nvmlSystemGetDriverVersion()
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()
    return said.decode() if isinstance(said, bytes) else str(said)


def _amd(load: Import) -> tuple[GpuState, ...]:
    try:
        smi: Any = load("amdsmi")
    except (ImportError, OSError, KeyError, AttributeError, RuntimeError):
        # Without ROCm's library the import itself fails, in a way that changes with its version.
        return ()
    try:
        smi.amdsmi_init()
    except smi.AmdSmiException:
        return ()
    try:
        return tuple(_amd_gpu(smi, handle) for handle in smi.amdsmi_get_processor_handles())
    except smi.AmdSmiException:
        return ()
    finally:
        smi.amdsmi_shut_down()


def _amd_gpu(smi: Any, handle: Any) -> GpuState:
    def told(function: str, key: str) -> Any:
        try:
            return getattr(smi, function)(handle).get(key)
        except smi.AmdSmiException:
            return None

    def mebibytes(key: str) -> int | None:
        value = told("amdsmi_get_gpu_vram_usage", key)
        return value * _MIB if isinstance(value, int) else None

    return GpuState(
        name=str(told("amdsmi_get_gpu_asic_info", "market_name") or "AMD GPU"),
        memory_bytes=mebibytes("vram_total"),
        used_bytes=mebibytes("vram_used"),
        driver=told("amdsmi_get_gpu_driver_info", "driver_version"),
        source="amdsmi",
        verified=False,
    )


def _ask_mlx() -> str | None:
    try:
        reply = subprocess.run([sys.executable, "-c", _ASK_MLX], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return reply.stdout if reply.returncode == 0 else None


def _number(text: str | None) -> int | None:
    stripped = (text or "").strip()
    return int(stripped) if stripped.isdecimal() else None
