"""The memory of a GGUF model in llama.cpp by formula: weights, caches by kind of layer, outputs. Starts no engine.

Sources: `llama-kv-cache.cpp`, `llama-kv-cache-iswa.cpp`, `llama-memory-recurrent.cpp`, `llama_context::output_reserve`
and `llama_model_base::load_tensors` of llama-cpp-python 0.3.36. What only the engine can tell is in `missing`.
Placement on a device follows the sources and is not verified on one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from profiler.fit import table
from profiler.fit.base import MemoryPrediction, Part, Place
from profiler.fit.cache_types import row_bytes
from profiler.fit.llama_cells import Cells, cells, window_cells
from profiler.fit.settings import LlamaSettings
from profiler.model_file.base import Layer, ModelFile

_REPACKED = frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q2_K", "Q3_K", "IQ4_NL", "MXFP4"})


def predict_llama(model: ModelFile, settings: LlamaSettings) -> MemoryPrediction:
    """What the model would take with these settings; what cannot be told is named in `missing`."""
    parts = [*_weights(model, settings)]
    missing: list[str] = []
    held = cells(settings, model.context_tokens)
    if model.layers is None:
        missing.append(f"caches and working memory: the layers of {model.architecture} are not known")
    elif held is None:
        missing.append("caches and working memory: the model names no context, give one")
    else:
        caches: list[Part] = []
        if not _holds(model.layers, settings):
            types = f"{settings.key_type}/{settings.value_type}"
            missing.append(f"KV cache: {types} cannot hold this model's rows, or is no type of llama.cpp")
        else:
            caches += [*_kv(model.layers, settings, held, "host"), *_kv(model.layers, settings, held, "device")]
        parts += [*caches, *_states(model.layers, settings), *_outputs(model, settings)]
        parts += _growing(model.layers, settings, held)
        working = _compute(model, settings, held)
        parts += [working] if working else []
        if working is None:
            why = "with flash attention off" if not settings.flash_attention else "of this architecture"
            missing.append(f"working memory {why}: only the engine's plan tells it")
    parts.append(table.runtime(table.LLAMA_RUNTIME_BYTES, "host"))
    if settings.gpu_layers > 0 and model.layer_bytes is None:
        missing.append("which weights lie on the device: their names do not tell the layer")
    if settings.gpu_layers > 0:
        parts.append(table.runtime(table.DEVICE_RUNTIME_BYTES, "device"))
    if settings.memory_mapped and any(share.type in _REPACKED for share in model.types):
        missing.append("weights that the engine repacks for this CPU: a second, unreclaimable copy of them")
    return MemoryPrediction(tuple(parts), tuple(missing))


def _placing(layers: int, settings: LlamaSettings) -> Callable[[int], Place]:
    """Where a layer lies; the output, the layer after the last, goes to the device first (`get_layer_buft_list`)."""
    first = max(layers + 1 - settings.gpu_layers, 0)
    return lambda il: "device" if settings.gpu_layers > 0 and il >= first else "host"


def _placing_caches(layers: int, settings: LlamaSettings) -> Callable[[int], Place]:
    return _placing(layers, settings) if settings.cache_on_device else lambda _: "host"


def _weights(model: ModelFile, settings: LlamaSettings) -> Iterator[Part]:
    """Tensors by place; a tied output matrix is on the device and on the host."""
    total, moved, copied = model.tensor_bytes, 0, 0
    if settings.gpu_layers > 0 and model.layer_bytes is not None:
        place = _placing(len(model.layer_bytes), settings)
        moved = sum(size for il, size in enumerate(model.layer_bytes) if place(il) == "device")
        moved += total - sum(model.layer_bytes) - (model.embedding_bytes or 0)
        copied = (model.output_bytes or 0) if model.tied else 0
    mapped = settings.memory_mapped
    left = total - moved
    told = f"{total} B of tensors" + (f" - {moved} B on the device" if moved else "")
    yield Part("weights", left, "host", "formula", told + (", pages of the file" if mapped else ""), reclaimable=mapped)
    if moved + copied:
        layers = min(settings.gpu_layers, len(model.layer_bytes or ()) + 1)
        again = f" + {copied} B of the output matrix, which the host keeps too" if copied else ""
        yield Part(
            "weights", moved + copied, "device", "formula", f"{moved} B of the output and {layers - 1} layers{again}"
        )


def _holds(layers: tuple[Layer, ...], settings: LlamaSettings) -> bool:
    """Whether the types of cache fill their blocks with the rows of every layer."""
    rows = [row_bytes(layer.key_values, settings.key_type) for layer in layers]
    return None not in [*rows, *(row_bytes(layer.value_values, settings.value_type) for layer in layers)]


def _kv(layers: tuple[Layer, ...], settings: LlamaSettings, held: Cells, place: Place) -> Iterator[Part]:
    """The KV cache that lies in one place, one part for each kind of layer."""
    placed = _placing_caches(len(layers), settings)
    # Without flash attention values lie transposed, and each layer has room for the widest (TAG_V_CACHE_VARIABLE).
    widest = max((layer.value_values for layer in layers), default=0)
    groups: dict[str, dict[tuple[int, int, int], int]] = {}
    for il, layer in enumerate(layers):
        if not layer.key_values or placed(il) != place:
            continue
        count = held.full if layer.window_tokens is None else window_cells(held, layer.window_tokens, settings)
        value = widest if layer.value_values and not settings.flash_attention else layer.value_values
        alike = groups.setdefault(layer.kind, {})
        alike[count, layer.key_values, value] = alike.get((count, layer.key_values, value), 0) + 1
    for kind, rows in groups.items():
        size = 0
        told: list[str] = []
        for (count, key, value), number in rows.items():
            key_bytes, value_bytes = row_bytes(key, settings.key_type), row_bytes(value, settings.value_type)
            if key_bytes is None or value_bytes is None:
                continue
            size += number * count * held.streams * (key_bytes + value_bytes)
            told.append(
                f"{number} layers × {count} cells × {held.streams} streams ×"
                f" ({key} keys in {settings.key_type} = {key_bytes} B"
                f" + {value} values in {settings.value_type} = {value_bytes} B)"
            )
        window = ""
        if kind == "sliding_window" and not settings.whole_windows:
            windows = sorted({layer.window_tokens for layer in layers if layer.window_tokens is not None})
            shared = f" for each of {max(settings.slots, 1)} slots" if settings.unified else ""
            window = f"; windows of {', '.join(map(str, windows))}{shared} and a batch of {held.ubatch}, up to 256"
        yield Part("kv_cache", size, place, "formula", f"{kind}: {' + '.join(told)}; {held.arithmetic}{window}")


def _states(layers: tuple[Layer, ...], settings: LlamaSettings) -> Iterator[Part]:
    """Recurrent states, f32, one for each slot."""
    slots = max(settings.slots, 1)
    placed = _placing_caches(len(layers), settings)
    places: tuple[Place, ...] = ("host", "device")
    for place in places:
        values = [layer.state_values for il, layer in enumerate(layers) if layer.state_values and placed(il) == place]
        if values:
            told = f"{len(values)} layers, {sum(values)} numbers × 4 B × {slots} slots"
            yield Part("recurrent_state", sum(values) * 4 * slots, place, "formula", told)


def _outputs(model: ModelFile, settings: LlamaSettings) -> Iterator[Part]:
    """Room for the logits of one token of each slot (`output_reserve`)."""
    if model.vocabulary_tokens and any(layer.kind != "none" for layer in model.layers or ()):
        slots = max(settings.slots, 1)
        told = f"logits: {model.vocabulary_tokens} tokens × 4 B × {slots} slots"
        yield Part("compute", model.vocabulary_tokens * 4 * slots, "host", "formula", told)


def _growing(layers: tuple[Layer, ...], settings: LlamaSettings, held: Cells) -> Iterator[Part]:
    """Checkpoints that llama-server keeps, at most; its cache of prompts is in `profiler.fit.growth`."""
    if settings.checkpoints <= 0:
        return
    saved = sum(layer.state_values for layer in layers) * 4
    for layer in layers:
        if layer.window_tokens is not None and not settings.whole_windows:
            key, value = (
                row_bytes(layer.key_values, settings.key_type),
                row_bytes(layer.value_values, settings.value_type),
            )
            kept = min(held.full, layer.window_tokens + held.ubatch)
            saved += kept * ((key or 0) + (value or 0))
    if saved:
        slots = max(settings.slots, 1)
        told = f"{settings.checkpoints} checkpoints × {slots} slots × {saved} B of states and windows"
        yield Part("checkpoints", settings.checkpoints * slots * saved, "host", "formula", told, at_most=True)


def _compute(model: ModelFile, settings: LlamaSettings, held: Cells) -> Part | None:
    if not settings.flash_attention:
        return None
    windows = {layer.window_tokens for layer in model.layers or () if layer.key_values}
    masks = sum(held.full if window is None else window_cells(held, window, settings) for window in windows)
    outputs = min(held.ubatch, settings.most_outputs or held.ubatch)
    return table.llama_compute(model, held.ubatch, outputs, masks, settings.gpu_layers > 0)
