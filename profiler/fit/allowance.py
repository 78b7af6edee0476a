"""What this machine can really give an engine: free main memory, free memory of its GPU, Apple's limit on wired memory.

Free now, not built in: what other programs hold is gone. Nothing here loads a model or keeps a reserve of its own.
Apple's part and GPUs that share the system's memory (GB10, Jetson) were not verified on such machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from profiler.fit.amounts import amount
from profiler.fit.base import Allowance
from profiler.hardware import GpuState, UnifiedMemory, gpu_states, unified_memory
from profiler.machine import available_memory_bytes

__all__ = ["allowance_of", "limited", "this_machine"]


def this_machine(
    *,
    available: Callable[[], int] = available_memory_bytes,
    gpus: Callable[[], Sequence[GpuState]] = gpu_states,
    unified: Callable[[], UnifiedMemory | None] = unified_memory,
) -> Allowance:
    """What is free now. GPUs are added up: llama.cpp divides a model among all of them."""
    return allowance_of(available(), gpus(), unified())


def allowance_of(available_bytes: int, gpus: Sequence[GpuState], unified: UnifiedMemory | None) -> Allowance:
    """The allowance that follows from readings."""
    if unified is not None:
        limit_bytes = unified.wired_limit_bytes
        device_bytes = available_bytes if limit_bytes is None else min(limit_bytes, available_bytes)
        limit = "no limit known" if limit_bytes is None else f"GPU limit {amount(limit_bytes)} by {unified.source}"
        source = f"{amount(available_bytes)} of unified memory free, {limit}"
        return Allowance(available_bytes, device_bytes, source, unified=True)
    source = f"{amount(available_bytes)} of main memory free"
    if not gpus:
        return Allowance(available_bytes, None, source)
    names = ", ".join(gpu.name for gpu in gpus)
    if any(gpu.memory_bytes is None for gpu in gpus):
        return Allowance(available_bytes, available_bytes, f"{source}, shared with {names}", unified=True)
    free_bytes = sum((gpu.memory_bytes or 0) - (gpu.used_bytes or 0) for gpu in gpus)
    return Allowance(available_bytes, free_bytes, f"{source}, {amount(free_bytes)} free on {names} ({gpus[0].source})")


def limited(allowance: Allowance, memory_bytes: int) -> Allowance:
    """No more than the user wants to give: of the GPU's memory where there is one, else of the host's."""
    source = f"{allowance.source}, limited to {amount(memory_bytes)} by the user"
    if allowance.device_bytes is not None:
        device_bytes = min(allowance.device_bytes, memory_bytes)
        host_bytes = min(allowance.host_bytes, memory_bytes) if allowance.unified else allowance.host_bytes
        return msgspec.structs.replace(allowance, device_bytes=device_bytes, host_bytes=host_bytes, source=source)
    return msgspec.structs.replace(allowance, host_bytes=min(allowance.host_bytes, memory_bytes), source=source)
