"""The settings of a target as far as memory depends on them, with each engine's defaults. Loads and starts nothing.

Options are those that the adapters document (`ctx`, `kv`, `slots`, …), not checked here: an adapter names what is wrong
with them. A context that is not given is the model's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from profiler.fit.settings import LlamaSettings, MlxSettings
from profiler.model_file.base import ModelFile

_ALL_LAYERS = 1 << 20
_AUTOMATIC_SLOTS = 4
_SERVER_CHECKPOINTS = 32
_LIBRARY_CONTEXT_TOKENS = 32768
_LIBRARY_BATCH_TOKENS = 512


def settings_of(
    model: ModelFile, engine: str, options: Mapping[str, str], *, has_device: bool = False, unified_memory: bool = True
) -> LlamaSettings | MlxSettings:
    """What a target of this model with `options` (`Target.options`) would be loaded with.

    `has_device`: a GPU takes what may lie on it. `unified_memory`: it is the host's own (MLX).

    Raises:
        ValueError: an option that must be a number is none.
    """
    given = {key.replace("-", "_"): value for key, value in options.items()}
    context = _number(given, "ctx")
    if model.container == "mlx":
        return MlxSettings(
            context_tokens=context or _bounded(model),
            kv_bits=_number(given, "kv_bits"),
            kv_group_size=_number(given, "kv_group") or 64,
            prefill_tokens=_number(given, "prefill_step") or 2048,
            unified=unified_memory,
        )
    layers = _number(given, "gpu_layers")
    on_device = 0 if not has_device else _ALL_LAYERS if layers is None or layers < 0 else layers
    kv = given.get("kv", "f16")
    if engine == "llama-cpp":
        return LlamaSettings(
            context_tokens=context or _bounded(model),
            key_type=kv,
            value_type=kv,
            batch_tokens=_number(given, "batch") or _LIBRARY_BATCH_TOKENS,
            ubatch_tokens=_number(given, "ubatch") or _LIBRARY_BATCH_TOKENS,
            whole_windows=_flag(given, "swa_full", default=True),
            flash_attention=given.get("flash_attn", "auto") == "on" or kv not in ("f16", "f32", "bf16"),
            gpu_layers=on_device,
        )
    slots = _number(given, "slots")
    unified = _flag(given, "kv_unified", default=slots is None)
    checkpoints = _number(given, "ctx_checkpoints")
    return LlamaSettings(
        context_tokens=context or (model.context_tokens or 0) * (1 if unified else slots or _AUTOMATIC_SLOTS),
        slots=slots or _AUTOMATIC_SLOTS,
        unified=unified,
        key_type=kv,
        value_type=kv,
        batch_tokens=_number(given, "batch") or 2048,
        ubatch_tokens=_number(given, "ubatch") or 512,
        most_outputs=slots or _AUTOMATIC_SLOTS,
        whole_windows=_flag(given, "swa_full", default=False),
        flash_attention=given.get("flash_attn", "auto") != "off",
        gpu_layers=on_device,
        checkpoints=_SERVER_CHECKPOINTS if checkpoints is None else checkpoints,
    )


def _bounded(model: ModelFile) -> int:
    return min(model.context_tokens or 0, _LIBRARY_CONTEXT_TOKENS)


def _number(given: Mapping[str, str], key: str) -> int | None:
    return int(given[key]) if key in given else None


def _flag(given: Mapping[str, str], key: str, *, default: bool) -> bool:
    return given[key].lower() in ("true", "1", "on", "yes") if key in given else default
