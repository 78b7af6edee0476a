"""What llama.cpp's plan of a load says, from its log: bytes in each memory, and what the cache is made of. Pure.

The log is of `Planner.plan`. A load that allocates nothing names the sizes of its caches in a line of their own, beside
buffers of 0.00 MiB:

    llama_kv_cache: size =   16.00 MiB (  4096 cells,   4 layers,  1/1 seqs), K (f16):    8.00 MiB, V (f16):    8.00 MiB
    llama_memory_recurrent: size =    0.07 MiB (     4 cells,   2 layers,  4 seqs  0 rs_seq), R (f32): …

and of the weights only `llama_get_memory_breakdown` tells, whose lines the planner adds where the library has it.
Recorded from llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from profiler.load_log import load_sizes, on_host

__all__ = ["EnginePlan", "PlannedCache", "PlannedMemory", "engine_plan"]

_MIB: Final = 1 << 20
_MEMORY: Final = re.compile(
    r"llama_get_memory_breakdown: (?P<name>\S+) model = (?P<model>\d+) context = (?P<context>\d+)"
    r" compute = (?P<compute>\d+) bytes"
)
_CACHE: Final = re.compile(
    r"llama_kv_cache\w*: size = +(?P<mib>[\d.]+) MiB \( *(?P<cells>\d+) cells, +(?P<layers>\d+) layers, +"
    r"(?P<sequences>\d+)/(?P<streams>\d+) seqs\), K \((?P<key>\w+)\):"
)
_STATE: Final = re.compile(
    r"llama_memory_recurrent: size = +(?P<mib>[\d.]+) MiB \( *\d+ cells, +\d+ layers, +(?P<sequences>\d+) seqs"
)
_BYTE_PAIRS: Final = re.compile(r"vocab type += BPE")
_WINDOWED: Final = re.compile(r"creating +SWA KV cache")
_NUMBER: Final = r"\b{name} += (?:\d+|\[[\d, .]+\])"
_FLASH_ATTENTION: Final = re.compile(r"flash_attn += enabled|Flash Attention enabled")
_OUTPUT: Final = re.compile(r"(?P<name>[\w.\[\]-]+) +output buffer size = +(?P<mib>[\d.]+) MiB")


class PlannedMemory(msgspec.Struct, frozen=True):
    """What a load takes in one memory (`CPU`, `CPU_REPACK`, `CUDA0`), bytes; `None` is what the log does not say."""

    name: str
    weights_bytes: int | None
    context_bytes: int | None
    compute_bytes: int

    @property
    def on_host(self) -> bool:
        """Whether it is the host's memory."""
        return on_host(self.name)


class PlannedCache(msgspec.Struct, frozen=True):
    """One KV cache: its bytes, to 0.01 MiB for each of keys and values. `cells` are of each of its `streams`.

    `windowed` holds the layers that see a window only.
    """

    bytes: int
    cells: int
    layers: int
    sequences: int
    streams: int
    kv: str
    windowed: bool


class EnginePlan(msgspec.Struct, frozen=True):
    """A load as llama.cpp plans it. `window_tokens` is 0 where no layer has a window.

    `heads` are those of queries, `widest_values` the longest row that a matrix is multiplied with, both of one layer;
    0 is what the log does not say. `byte_pairs`: the tokenizer is a BPE one.
    """

    memories: tuple[PlannedMemory, ...]
    caches: tuple[PlannedCache, ...]
    state_bytes: int
    sequences: int
    context_tokens: int
    ubatch_tokens: int
    window_tokens: int
    tells_weights: bool
    flash_attention: bool
    heads: int
    widest_values: int
    vocabulary_tokens: int
    byte_pairs: bool


def engine_plan(log: str) -> EnginePlan | None:
    """The plan that a log tells; `None` if it tells none."""
    caches: list[PlannedCache] = []
    state_bytes, windowed, breakdown = 0, False, list[PlannedMemory]()
    outputs: dict[str, int] = {}
    for line in log.splitlines():
        if _WINDOWED.search(line):
            windowed = True
        elif found := _CACHE.search(line):
            caches.append(_cache(found, windowed))
            windowed = False
        elif found := _STATE.search(line):
            state_bytes += _bytes(found["mib"])
        elif found := _OUTPUT.search(line):
            outputs[found["name"]] = _bytes(found["mib"])
        elif found := _MEMORY.search(line):
            numbers = (int(found[what]) for what in ("model", "context", "compute"))
            breakdown.append(PlannedMemory(found["name"], *numbers))
    memories = breakdown or _without_breakdown(log)
    if not memories:
        return None
    return EnginePlan(
        memories=tuple(_with_output(memory, outputs) for memory in memories) if breakdown else tuple(memories),
        caches=tuple(caches),
        state_bytes=state_bytes,
        sequences=_number(log, "n_seq_max") or 1,
        context_tokens=_number(log, "llama_context: n_ctx") or 0,
        ubatch_tokens=_number(log, "n_ubatch") or 0,
        window_tokens=_number(log, "n_swa") or 0,
        tells_weights=bool(breakdown),
        flash_attention=_FLASH_ATTENTION.search(log) is not None,
        heads=_number(log, "n_head") or 0,
        vocabulary_tokens=_number(log, "n_vocab") or 0,
        byte_pairs=_BYTE_PAIRS.search(log) is not None,
        widest_values=max(_number(log, name) or 0 for name in ("n_embd", "n_ff", "ssm_d_inner")),
    )


def _cache(found: re.Match[str], windowed: bool) -> PlannedCache:
    numbers = {name: int(found[name]) for name in ("cells", "layers", "sequences", "streams")}
    return PlannedCache(bytes=_bytes(found["mib"]), kv=found["key"], windowed=windowed, **numbers)


def _without_breakdown(log: str) -> list[PlannedMemory]:
    """Host and device as one memory each: the lines on caches do not say where these lie."""
    sizes = load_sizes(log)
    if sizes is None or sizes.compute_bytes is None:
        return []
    device_bytes = sizes.device_bytes or 0
    host = PlannedMemory("CPU", None, None, sizes.compute_bytes - device_bytes)
    return [host] if not device_bytes else [host, PlannedMemory("device", None, None, device_bytes)]


def _with_output(memory: PlannedMemory, outputs: dict[str, int]) -> PlannedMemory:
    """The rows of logits are no part of the breakdown."""
    extra = outputs.get(memory.name, 0)
    return msgspec.structs.replace(memory, compute_bytes=memory.compute_bytes + extra)


def _number(log: str, name: str) -> int | None:
    """A number that the log gives a name to; of a list, one for each layer, the largest."""
    found = re.search(_NUMBER.format(name=name), log)
    return max(int(n) for n in re.findall(r"\d+", found.group().rpartition("=")[2])) if found else None


def _bytes(mib: str) -> int:
    return round(float(mib) * _MIB)
