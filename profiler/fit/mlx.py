"""The memory of a model in mlx-lm by formula: weights, caches by kind of layer. Starts no engine.

Sources: `mlx_lm/models/cache.py` of mlx-lm 0.32.2. A cache grows with use, in steps of 256 tokens; what is said is what
it holds at the context that is asked for. Activations of prefill and MLX's cache of freed buffers only a run tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from profiler.fit import table
from profiler.fit.base import MemoryPrediction, Part, Place
from profiler.fit.settings import MlxSettings
from profiler.model_file.base import Layer, ModelFile

STEP_TOKENS = 256
_WIDE = ("F32",)


def predict_mlx(model: ModelFile, settings: MlxSettings) -> MemoryPrediction:
    """What the model would take once a context of so many tokens is reached; `missing` names what cannot be told."""
    place: Place = "host" if settings.unified else "device"
    parts = [Part("weights", model.tensor_bytes, place, "formula", f"{model.tensor_bytes} B of tensors")]
    missing = ["activations of prefill, and buffers that MLX keeps for reuse: only a run tells them"]
    context = settings.context_tokens or model.context_tokens
    if model.layers is None:
        missing.append(f"caches: the layers of {model.architecture} are not known")
    elif not context:
        missing.append("caches: the model names no context, give one")
    else:
        width = value_bytes(model)
        parts += _caches(model.layers, settings, context, width, place)
        parts += _states(model.layers, settings, width, place)
        parts += _outputs(model, settings, width, place)
    parts.append(table.runtime(table.MLX_RUNTIME_BYTES, "host"))
    return MemoryPrediction(tuple(parts), tuple(missing))


def value_bytes(model: ModelFile) -> int:
    """Bytes of a number that the model computes with: 4 if its tensors that are not packed are F32, else 2."""
    sizes: Counter[str] = Counter()
    for share in model.types:
        if share.type in ("F32", "F16", "BF16"):
            sizes[share.type] += share.parameters
    return 4 if sizes and sizes.most_common(1)[0][0] in _WIDE else 2


def _caches(layers: tuple[Layer, ...], settings: MlxSettings, context: int, width: int, place: Place) -> Iterator[Part]:
    """KV caches by kind. A window holds itself, and during prefill one step more (`RotatingKVCache`)."""
    grown = -(-context // STEP_TOKENS) * STEP_TOKENS
    groups: dict[str, dict[tuple[int, int, int], int]] = {}
    for layer in layers:
        if not layer.key_values:
            continue
        held = grown
        if layer.window_tokens is not None:
            held = min(context, layer.window_tokens + settings.prefill_tokens - 1)
        elif settings.most_tokens and all(other.kind == "attention" for other in layers):
            held = min(context, settings.most_tokens + settings.prefill_tokens - 1)
        alike = groups.setdefault(layer.kind, {})
        alike[held, layer.key_values, layer.value_values] = (
            alike.get((held, layer.key_values, layer.value_values), 0) + 1
        )
    for kind, rows in groups.items():
        size = 0
        told: list[str] = []
        # A rotating cache cannot be quantised (`RotatingKVCache.to_quantized`).
        bits = None if kind == "sliding_window" or settings.most_tokens else settings.kv_bits
        for (held, key, value), number in rows.items():
            values = key + value
            row = values * width
            if bits is not None:
                row = values * bits // 8 + 2 * values // settings.kv_group_size * width
            size += number * held * settings.sequences * row
            stored = f"{bits} bits with scales" if bits is not None else f"{width} B"
            told.append(
                f"{number} layers × {held} tokens × {settings.sequences} × {values} values of {stored} = {row} B"
            )
        yield Part("kv_cache", size, place, "formula", f"{kind}: {' + '.join(told)}")


def _states(layers: tuple[Layer, ...], settings: MlxSettings, width: int, place: Place) -> Iterator[Part]:
    """States in f32, histories of inputs in the model's own type."""
    histories = sum(layer.history_values for layer in layers)
    states = sum(layer.state_values for layer in layers) - histories
    if histories or states:
        size = (histories * width + states * 4) * settings.sequences
        told = f"({histories} numbers of history × {width} B + {states} of state × 4 B) × {settings.sequences}"
        yield Part("recurrent_state", size, place, "formula", told)


def _outputs(model: ModelFile, settings: MlxSettings, width: int, place: Place) -> Iterator[Part]:
    """The logits of one token of each sequence."""
    if model.vocabulary_tokens:
        told = f"logits: {model.vocabulary_tokens} tokens × {width} B × {settings.sequences}"
        yield Part("compute", model.vocabulary_tokens * width * settings.sequences, place, "formula", told)
