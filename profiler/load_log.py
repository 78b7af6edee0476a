"""Sizes of what llama.cpp allocated, from its load log. Pure; an engine offers the log through `LogsLoad`.

Every buffer has a line of its own, with the name of the memory it lies in:

    load_tensors:   CPU_Mapped model buffer size =     1.91 MiB
    llama_kv_cache:        CPU KV buffer size =    16.00 MiB
    sched_reserve:        CPU compute buffer size =    15.02 MiB

Recorded from llama-cpp-python 0.3.36 and xllamacpp 2026.10. Before 2025, and in ik_llama.cpp still, the line on weights
is `llm_load_tensors: CUDA0 buffer size = …`. A log without such lines says nothing.
"""

from __future__ import annotations

import re
from typing import Final

from profiler.residency.records import LoadSizes

__all__ = ["load_sizes", "on_host"]

_BUFFER: Final = re.compile(
    r"(?P<place>[\w.\[\]-]+) +(?P<what>model|LoRA|KV|RS|DSV4 \w+ state|output|compute) buffer size"
    r" *= *(?P<mib>\d+(?:\.\d+)?) MiB"
)
_OLD_WEIGHTS: Final = re.compile(r"load_tensors: +(?P<place>[\w.-]+) buffer size *= *(?P<mib>\d+(?:\.\d+)?) MiB")
_NEW_CONTEXT: Final = "constructing llama_context"
_WEIGHTS: Final = ("model", "LoRA")
_COMPUTE: Final = ("output", "compute")
_MIB: Final = 1 << 20


def load_sizes(log: str) -> LoadSizes | None:
    """Sums over all buffers of a load; `None` if the log names none. To 0.01 MiB a buffer, as they are printed."""
    weights: list[tuple[str, int]] = []
    cache: list[tuple[str, int]] = []
    compute: dict[tuple[int, str, str], int] = {}
    context = 0
    for line in log.splitlines():
        context += _NEW_CONTEXT in line
        found = _BUFFER.search(line) or _OLD_WEIGHTS.search(line)
        if found is None:
            continue
        place, what, size = found["place"], found.groupdict().get("what", "model"), round(float(found["mib"]) * _MIB)
        if what in _WEIGHTS:
            weights.append((place, size))
        elif what in _COMPUTE:
            # Reserved anew when an adapter or another batch asks for it: the last one is what is held.
            compute[context, place, what] = size
        else:
            cache.append((place, size))
    computing = [(place, size) for (_, place, _), size in compute.items()]
    everything = [*weights, *cache, *computing]
    if not everything:
        return None
    return LoadSizes(
        weights_bytes=_sum(weights),
        mapped_weights_bytes=_sum([(p, n) for p, n in weights if p.endswith("_Mapped")]) or 0 if weights else None,
        kv_bytes=_sum(cache),
        compute_bytes=_sum(computing),
        device_bytes=sum(size for place, size in everything if not on_host(place)),
    )


def on_host(place: str) -> bool:
    """Whether a buffer is in the host's memory: the CPU's own, repacked for it, or pinned for a GPU (`CUDA_Host`)."""
    return place.startswith(("CPU", "AMX", "BLAS")) or place.endswith("_Host")


def _sum(sizes: list[tuple[str, int]]) -> int | None:
    return sum(size for _, size in sizes) if sizes else None
