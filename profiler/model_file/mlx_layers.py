"""The layers of an MLX model by kind, with what each keeps, as mlx-lm's models make their caches. Reads no file.

From `make_cache` of each model of mlx-lm 0.32.2 and the attention that fills it. KV sizes are the rows of the stored
`k_proj` and `v_proj`; the config stands in where a model stores them fused. A model type that is in no table is not
known, and nothing is said of its layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from backends.base import JsonObject
from profiler.model_file.base import Layer, NotToldError

MOST_LAYERS: Final = 4096

_SAME_AS: Final = {
    "mistral": "llama", "iquestcoder": "llama", "xverse": "llama", "kimi_k2": "deepseek_v3",
    "joyai_llm_flash": "deepseek_v3", "minimax_m2": "minimax", "gemma3": "gemma3_text", "gemma4": "gemma4_text",
    "qwen3_5_moe": "qwen3_5", "qwen3_5_text": "qwen3_5", "qwen3_5_moe_text": "qwen3_5",
    "qwen2_5_vl": "qwen2_vl", "kimi_k25": "deepseek_v3",
}  # fmt: skip
"""Model types that make the same caches (mlx_lm/utils.py, `MODEL_REMAPPING`, and the models that wrap another)."""
_FULL: Final = frozenset({
    "Klear", "apertus", "bailing_moe", "bitnet", "cohere", "dbrx", "deepseek", "dots1", "ernie4_5", "ernie4_5_moe",
    "exaone", "gemma", "gemma2", "glm", "glm4", "glm4_moe", "granite", "granitemoe", "helium", "hunyuan",
    "hunyuan_v1_dense", "internlm2", "internlm3", "mimo", "minicpm", "minimax", "mixtral", "nemotron", "olmo", "olmo2",
    "olmoe", "openelm", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen2_vl", "qwen3", "qwen3_moe", "qwen3_vl",
    "qwen3_vl_moe", "seed_oss", "smollm3", "stablelm", "starcoder2",
})  # fmt: skip
_LATENT: Final = frozenset({"deepseek_v3", "glm4_moe_lite", "mistral4"})
"""Keep the compressed latent and the rotated part of the key of each token (multi-head latent attention)."""
_PERIOD: Final = {"gemma3_text": (6, 512), "cohere2": (4, 4096), "gemma4_text": (5, 512)}
"""Each n-th layer sees everything, the others a window: both as mlx-lm assumes them where the config is silent."""
_BY_TYPES: Final = frozenset({"llama", "ministral3", "gpt_oss", "olmo3", "gemma3n", "gemma4_text"})
"""The config lists `layer_types`."""
_SHARING: Final = frozenset({"gemma3n", "gemma4_text"})
"""The last layers use the cache of earlier ones (`num_kv_shared_layers`)."""
_LINEAR: Final = frozenset({"qwen3_next", "qwen3_5"})
_CONVOLUTION: Final = frozenset({"lfm2", "lfm2_moe"})
_PROJECTION: Final = re.compile(r"(?:^|\.)layers\.(\d{1,5})\.(?:[\w]+\.)*([kv])_proj$")


def layers_of(model_type: str, config: Mapping[str, Any], rows: Mapping[str, int]) -> tuple[Layer, ...]:
    """All layers of the model in order; `rows` are the outputs of each stored matrix by name.

    Raises:
        NotToldError: the model type is not known, or the config lacks what it needs.
    """
    kind = _SAME_AS.get(model_type, model_type)
    if model_type == "mistral3":  # wraps another without asking it for its caches: plain ones, of what it stores
        kind = "mistral4" if config.get("model_type") == "mistral4" else "mixtral"
    told = _Config(config)
    count = told.number("num_hidden_layers")
    if count > MOST_LAYERS:
        raise NotToldError(f"{count} layers are not possible")
    if kind in _LATENT:
        latent, rotated = told.number("kv_lora_rank"), told.number("qk_rope_head_dim")
        return (Layer("mla", latent, rotated),) * count
    if kind == "deepseek_v2":
        heads = told.number("num_attention_heads")
        keys = heads * (told.number("qk_nope_head_dim") + told.number("qk_rope_head_dim"))
        return (Layer("attention", keys, heads * told.number("v_head_dim")),) * count
    seeing = _seeing(kind, told, count)
    kept = _key_values(told, rows, count)
    window = told.number("sliding_window", _PERIOD.get(kind, (0, 0))[1]) if "window" in seeing else None
    if "window" in seeing and not window:
        raise NotToldError("sliding_window is missing")
    state = _state(kind, told) if "state" in seeing else Layer("none")
    alone = {"state": state, "none": Layer("none")}
    return tuple(alone.get(sight) or _attention(sight, *kept[il], window) for il, sight in enumerate(seeing))


def _attention(sight: str, keys: int, values: int, window: int | None) -> Layer:
    if sight == "window":
        return Layer("sliding_window", keys, values, window_tokens=window)
    return Layer("attention", keys, values)


class _Config:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values: JsonObject = dict(values)

    def number(self, key: str, default: int | None = None) -> int:
        value = self._values.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
            raise NotToldError(f"{key} is {'missing' if value is None else 'no number'}")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        value: Any = self._values.get(key)
        return tuple(map(str, cast("list[Any]", value))) if isinstance(value, (list, str)) else None


def _seeing(kind: str, told: _Config, count: int) -> tuple[str, ...]:
    """What each layer sees: `all`, a `window`, only its `state`, or `none` of its own."""
    types = told.texts("layer_types")
    if kind in _FULL:
        return ("all",) * count
    if kind in _LINEAR:
        step = told.number("full_attention_interval", 4) or 1
        return tuple("all" if (il + 1) % step == 0 else "state" for il in range(count))
    if kind in _CONVOLUTION:
        return _convolutions(told, types, count)
    if kind == "exaone4":
        pattern = told.texts("sliding_window_pattern") or ("G",)
        return tuple("window" if pattern[il % len(pattern)] == "L" else "all" for il in range(count))
    if types is None or kind not in _BY_TYPES:
        types = _types_unsaid(kind, told, count)
    if len(types) != count:
        raise NotToldError(f"layer_types names {len(types)} of {count} layers")
    own = count - told.number("num_kv_shared_layers", 0) if kind in _SHARING else count
    return tuple(
        "none" if il >= own else "all" if sight == "full_attention" else "window" for il, sight in enumerate(types)
    )


def _types_unsaid(kind: str, told: _Config, count: int) -> tuple[str, ...]:
    full, windowed = "full_attention", "sliding_attention"
    if kind in _PERIOD:
        step = told.number("sliding_window_pattern", _PERIOD[kind][0]) or 1
        return tuple(full if il % step == step - 1 else windowed for il in range(count))
    if kind in ("llama", "ministral3"):
        return (full,) * count
    if kind == "gpt_oss":
        return tuple(full if il % 2 else windowed for il in range(count))
    if kind == "olmo3":
        return tuple(full if (il + 1) % 4 == 0 else windowed for il in range(count))
    raise NotToldError(f"what the layers of {kind!r} keep in MLX is not known here")


def _convolutions(told: _Config, types: tuple[str, ...] | None, count: int) -> tuple[str, ...]:
    indices = told.texts("full_attn_idxs")
    if indices is not None:
        return tuple("all" if str(il) in indices else "state" for il in range(count))
    if types is None or len(types) != count:
        raise NotToldError("full_attn_idxs and layer_types are missing")
    return tuple("all" if sight == "full_attention" else "state" for sight in types)


def _key_values(told: _Config, rows: Mapping[str, int], count: int) -> list[tuple[int, int]]:
    """Numbers of keys and of values that each layer keeps for a token."""
    stored: dict[int, dict[str, int]] = {}
    for name, outputs in rows.items():
        if found := _PROJECTION.search(name):
            stored.setdefault(int(found[1]), {})[found[2]] = outputs
    try:
        heads = told.number("num_attention_heads")
        head = told.number("head_dim", told.number("hidden_size") // heads if heads else 0)
        usual = told.number("num_key_value_heads", heads) * head
    except NotToldError:
        if not stored:
            raise
        usual = 0
    kept: list[tuple[int, int]] = []
    for il in range(count):
        keys = stored.get(il, {}).get("k", usual)
        kept.append((keys, stored.get(il, {}).get("v", keys)))
    return kept


def _state(kind: str, told: _Config) -> Layer:
    """What a layer without attention keeps for each sequence."""
    if kind in _CONVOLUTION:
        history = told.number("hidden_size") * (told.number("conv_L_cache") - 1)
        return Layer("recurrent", state_values=history, history_values=history)
    heads, key_heads = told.number("linear_num_value_heads", 64), told.number("linear_num_key_heads", 16)
    key, value = told.number("linear_key_head_dim", 192), told.number("linear_value_head_dim", 128)
    history = (told.number("linear_conv_kernel_dim", 4) - 1) * (2 * key_heads * key + heads * value)
    return Layer("recurrent", state_values=history + heads * value * key, history_values=history)
