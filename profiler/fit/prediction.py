"""What a target would take, part by part: the engine's own plan first, our arithmetic where it is silent, then a table.
Pure.

Weights that an engine maps from the file stay reclaimable; those that it repacks for the processor are copied, so that
the copy must be held and the file's pages lie idle. What llama-server may grow by comes from `profiler.fit.growth`,
what a program takes besides from a `Runtime`, measured once on each machine (`runtime_of`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from profiler.fit.amounts import amount
from profiler.fit.base import MemoryPrediction, Part, Place, What
from profiler.fit.engine_plan import EnginePlan, PlannedMemory
from profiler.model_file.base import ModelFile

__all__ = ["Runtime", "predict_memory", "runtime_of"]

_KINDS: Final[tuple[What, ...]] = (
    "weights",
    "kv_cache",
    "recurrent_state",
    "compute",
    "prompt_cache",
    "checkpoints",
)
_COPIES: Final = ("CPU_REPACK", "AMX")
"""Memories of weights that are rearranged for the processor (`ggml-cpu/repack.cpp`, `ggml-cpu/amx`)."""

_CELL_BYTES: Final = 144
"""Of a used cell: 48 in arrays, and a node of 48 in each of two ordered sets (`llama-kv-cells.h`; glibc)."""
_TOKEN_BYTES: Final = 365
"""Of a token with its merge, measured with 1,024 to 152,000 tokens: 300 in llama-cpp-python, 430 in llama-server."""
_CHARACTERS_BYTES: Final = 2 * 0x110000
"""BPE keeps flags of two bytes for each character of Unicode (`unicode.cpp`, `unicode_cpt_flags_array`)."""
_HALF_BYTES: Final = 2
_BLOCK_BYTES: Final = 292 / 256
"""A value rounded to `q8_K`; `q8_0` takes 34 / 32."""


class Runtime(msgspec.Struct, frozen=True):
    """What an engine's program takes of the host without a model: interpreter, libraries, threads; bytes.

    `source` says where it was found.
    """

    host_bytes: int
    source: str


def predict_memory(
    model: ModelFile,
    *,
    plan: EnginePlan | None = None,
    formula: MemoryPrediction | None = None,
    growth: Sequence[Part] = (),
    runtime: Runtime | None = None,
    unlimited: Sequence[str] = (),
) -> MemoryPrediction:
    """Merge what is known. Of each kind of memory, the surest basis gives all the parts: plan, formula, file.

    `formula` is the prediction of `profiler.fit.formula`; `growth` holds parts that are `at_most`, `unlimited` what
    grows without limit (both from `profiler.fit.growth.server_growth`); `runtime` replaces a table's for the host.
    """
    planned = () if plan is None else (*_weights(plan), *_context(plan), *_compute(plan), *_beside(plan, model))
    surest = (*planned, *growth)
    by_formula = () if formula is None else formula.parts
    parts: list[Part] = []
    for what in _KINDS:
        found = [p for p in surest if p.what == what] or [p for p in by_formula if p.what == what]
        if not found and what == "weights":
            found = [_file_weights(model)]
        parts += found
    if runtime is not None:
        parts.append(Part("runtime", runtime.host_bytes, "host", "table", runtime.source))
    parts += [p for p in by_formula if p.what == "runtime" and (p.place == "device" or runtime is None)]
    parts += [p for p in planned if p.what == "runtime"]
    # What a formula misses, a plan has.
    told = formula.missing if formula is not None and plan is None else _missing(parts)
    return MemoryPrediction(tuple(parts), (*unlimited, *told))


def _missing(parts: Sequence[Part]) -> Iterator[str]:
    kinds = {part.what for part in parts}
    if not kinds & {"kv_cache", "recurrent_state"}:
        yield "the cache: no plan of an engine, and no formula for these layers"
    if "compute" not in kinds:
        yield "the compute buffer: only a plan of an engine tells it"
    if not any(part.what == "runtime" and part.place == "host" and part.basis == "table" for part in parts):
        yield "what the engine's program takes besides: load a model once to measure it"
    on_device = [part.what for part in parts if part.place == "device"]
    if on_device and "runtime" not in on_device:
        yield "what a GPU's driver takes for each program, some hundred MiB"


def runtime_of(predicted: MemoryPrediction, measured_bytes: int, of: str) -> Runtime:
    """The runtime's part, from a load whose must-have memory was measured: the rest. `of` says what was loaded."""
    known = sum(p.bytes for p in predicted.parts if _held(p) and not (p.what == "runtime" and p.basis == "table"))
    return Runtime(max(0, measured_bytes - known), f"measured on this machine with {of}")


def _held(part: Part) -> bool:
    return part.place == "host" and not part.reclaimable and not part.at_most


def _file_weights(model: ModelFile) -> Part:
    return Part(
        what="weights",
        bytes=model.tensor_bytes,
        place="host",
        basis="formula",
        arithmetic=f"{model.path.name}: {amount(model.tensor_bytes)} of tensors, mapped from the file",
        reclaimable=model.container == "gguf",
    )


def _weights(plan: EnginePlan) -> list[Part]:
    if not plan.tells_weights:
        return []
    parts: list[Part] = []
    for memory in plan.memories:
        size_bytes = memory.weights_bytes or 0
        if not size_bytes:
            continue
        copied = not memory.on_host or memory.name in _COPIES
        how = "repacked" if memory.on_host and copied else "copied" if copied else "mapped from the file"
        parts.append(
            Part(
                what="weights",
                bytes=size_bytes,
                place=_place(memory),
                basis="engine plan",
                arithmetic=f"{memory.name}: {amount(size_bytes)} of weights, {how}",
                reclaimable=not copied,
            )
        )
        if copied:
            parts.append(
                Part(
                    what="weights",
                    bytes=size_bytes,
                    place="host",
                    basis="engine plan",
                    arithmetic=f"{amount(size_bytes)} of the file that were {how} to {memory.name}, not read again",
                    reclaimable=True,
                    idle=True,
                )
            )
    return parts


def _context(plan: EnginePlan) -> list[Part]:
    """KV caches and recurrent states. Each memory's bytes are split as the whole is: only their sum has a place."""
    cache_bytes = sum(cache.bytes for cache in plan.caches)
    whole = cache_bytes + plan.state_bytes
    if not whole:
        return []
    known = [m for m in plan.memories if m.context_bytes]
    places = known or [PlannedMemory("CPU", None, whole, 0)]
    parts: list[Part] = []
    kinds: tuple[tuple[What, int, str], ...] = (
        ("kv_cache", cache_bytes, " + ".join(_cache_words(plan))),
        ("recurrent_state", plan.state_bytes, f"{amount(plan.state_bytes)}: {plan.sequences} sequences"),
    )
    for memory in places:
        for what, kind_bytes, words in kinds:
            size_bytes = round((memory.context_bytes or 0) * kind_bytes / whole)
            if size_bytes:
                parts.append(Part(what, size_bytes, _place(memory), "engine plan", f"{memory.name}: {words}"))
    return parts


def _place(memory: PlannedMemory) -> Place:
    return "host" if memory.on_host else "device"


def _cache_words(plan: EnginePlan) -> list[str]:
    return [
        f"{amount(c.bytes)} ({c.cells} cells × {c.layers} layers × {c.streams} streams, {c.kv}"
        f"{', window' if c.windowed else ''})"
        for c in plan.caches
    ]


def _beside(plan: EnginePlan, model: ModelFile) -> list[Part]:
    """What llama.cpp takes of the host beside its buffers, which no plan counts."""
    cells = sum(cache.cells * cache.streams for cache in plan.caches)
    words = f"notes on {cells} cells × {_CELL_BYTES} B"
    notes = [Part("kv_cache", cells * _CELL_BYTES, "host", "formula", words)] if cells else []
    return [*notes, *_work(plan, model), *_vocabulary(plan)]


def _vocabulary(plan: EnginePlan) -> list[Part]:
    tables_bytes = _CHARACTERS_BYTES if plan.byte_pairs else 0
    size_bytes = plan.vocabulary_tokens * _TOKEN_BYTES + tables_bytes
    words = f"vocabulary: {plan.vocabulary_tokens} tokens × {_TOKEN_BYTES} B"
    if tables_bytes:
        words += f" + {amount(tables_bytes)} of character tables"
    return [Part("runtime", size_bytes, "host", "formula", words)] if size_bytes else []


def _work(plan: EnginePlan, model: ModelFile) -> list[Part]:
    """The processor's work buffer (`ggml-cpu.c`, `ggml_graph_plan`).

    Before a matrix is multiplied, the other one is rounded to the type in which they are multiplied: the rows of a
    batch, and without flash attention the weights of all heads over the whole cache, which are then by far the most.
    """
    if any(memory.context_bytes and not memory.on_host for memory in plan.memories):
        return []
    held = model.types[0].type.upper() if model.types else ""
    value_bytes = 0 if held == "F32" else _HALF_BYTES if held in ("F16", "BF16") else _BLOCK_BYTES
    rows_bytes = round(plan.ubatch_tokens * plan.widest_values * value_bytes)
    cells = max((cache.cells for cache in plan.caches if cache.kv != "f32"), default=0)
    attention_bytes = 0 if plan.flash_attention else plan.ubatch_tokens * plan.heads * cells * _HALF_BYTES
    words = f"{plan.ubatch_tokens} tokens × {plan.widest_values} values"
    if attention_bytes > rows_bytes:
        words = f"{plan.ubatch_tokens} tokens × {plan.heads} heads × {cells} cells, without flash attention"
    size_bytes = max(rows_bytes, attention_bytes)
    arithmetic = f"the processor's work buffer: {words}"
    return [Part("compute", size_bytes, "host", "formula", arithmetic)] if size_bytes else []


def _compute(plan: EnginePlan) -> list[Part]:
    words = f"one batch of {plan.ubatch_tokens} tokens at {plan.context_tokens} tokens of context"
    return [
        Part(
            what="compute",
            bytes=memory.compute_bytes,
            place=_place(memory),
            basis="engine plan",
            arithmetic=f"{memory.name}: {words}",
        )
        for memory in plan.memories
        if memory.compute_bytes
    ]
