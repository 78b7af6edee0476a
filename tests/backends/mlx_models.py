"""Model folders for MLX, made on the spot in float32: the bundled model, and random ones whose caches differ.

The random ones have the bundled model's tokenizer and template, and say noise. Float32, because MLX on a Linux CPU is
about fifty times slower in half precision.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.tiny_model.export import write_hf_folder

TINY = Path(__file__).parents[2] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
FOLDER = "FOLDER"
"""Stands in a target for the folder of the bundled model, which is made when a test first needs it."""
WINDOW_TOKENS = 64
_VOCABULARY, _WIDTH, _INNER, _HEADS, _HEAD = 1024, 64, 128, 2, 32
_SHARED: dict[str, Any] = {
    "hidden_size": _WIDTH,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": 1,
    "head_dim": _HEAD,
    "vocab_size": _VOCABULARY,
    "max_position_embeddings": 32768,
    "rope_theta": 1_000_000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 2,
    "torch_dtype": "float32",
}


@cache
def bundled_folder() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """The bundled model as a folder, which goes when this process ends."""
    place = tempfile.TemporaryDirectory(prefix="dyno-tests-")
    return place, write_tiny(Path(place.name) / "tiny")


def filled_in(target: str) -> str:
    """A target with `FOLDER` replaced by the folder."""
    return target.replace(FOLDER, str(bundled_folder()[1])) if FOLDER in target else target


def write_tiny(folder: Path) -> Path:
    """The bundled model."""
    return write_hf_folder(TINY, folder)


def write_dense(folder: Path) -> Path:
    """A small qwen3: every layer keeps all, and can be cut back anywhere."""
    w = _Weights()
    for layer in range(2):
        w.attention(f"model.layers.{layer}.self_attn", output="o_proj", norm="{}_norm")
        w.matrices(f"model.layers.{layer}.mlp", gate_proj=(_INNER, _WIDTH), up_proj=(_INNER, _WIDTH))
        w.matrices(f"model.layers.{layer}.mlp", down_proj=(_WIDTH, _INNER))
        w.norms(f"model.layers.{layer}", "input_layernorm", "post_attention_layernorm")
    w.norms("model", "norm")
    config = {"model_type": "qwen3", "num_hidden_layers": 2, "intermediate_size": _INNER, "rms_norm_eps": 1e-6}
    return w.finish(folder, config)


def write_sliding_window(folder: Path) -> Path:
    """A small gemma3: five layers of six see the last 64 tokens only."""
    w = _Weights()
    for layer in range(6):
        w.attention(f"model.layers.{layer}.self_attn", output="o_proj", norm="{}_norm")
        w.matrices(f"model.layers.{layer}.mlp", gate_proj=(_INNER, _WIDTH), up_proj=(_INNER, _WIDTH))
        w.matrices(f"model.layers.{layer}.mlp", down_proj=(_WIDTH, _INNER))
        w.norms(f"model.layers.{layer}", "input_layernorm", "post_attention_layernorm")
        w.norms(f"model.layers.{layer}", "pre_feedforward_layernorm", "post_feedforward_layernorm")
    w.norms("model", "norm")
    config = {
        "model_type": "gemma3_text", "num_hidden_layers": 6, "intermediate_size": _INNER, "rms_norm_eps": 1e-6,
        "rope_local_base_freq": 10000.0, "query_pre_attn_scalar": _HEAD,
        "sliding_window": WINDOW_TOKENS, "sliding_window_pattern": 6,
    }  # fmt: skip
    return w.finish(folder, config)


def write_hybrid(folder: Path) -> Path:
    """A small lfm2: short convolutions with a state that cannot be cut back, attention in two of four layers."""
    w = _Weights()
    attention = (1, 3)
    for layer in range(4):
        if layer in attention:
            w.attention(f"model.layers.{layer}.self_attn", output="out_proj", norm="{}_layernorm")
        else:
            w.matrices(f"model.layers.{layer}.conv", in_proj=(3 * _WIDTH, _WIDTH), out_proj=(_WIDTH, _WIDTH))
            w.matrices(f"model.layers.{layer}.conv", conv=(_WIDTH, 3, 1))
        w.matrices(f"model.layers.{layer}.feed_forward", w1=(_INNER, _WIDTH), w2=(_WIDTH, _INNER), w3=(_INNER, _WIDTH))
        w.norms(f"model.layers.{layer}", "operator_norm", "ffn_norm")
    w.norms("model", "embedding_norm")
    config = {
        "model_type": "lfm2", "num_hidden_layers": 4, "norm_eps": 1e-5, "conv_bias": False, "conv_L_cache": 3,
        "block_dim": _WIDTH, "block_ff_dim": _INNER, "block_multiple_of": 8, "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False, "full_attn_idxs": list(attention),
        "layer_types": ["full_attention" if layer in attention else "conv" for layer in range(4)],
    }  # fmt: skip
    return w.finish(folder, config)


class _Weights:
    """Random weights, the same in each run."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._tensors: dict[str, Any] = {}
        self.matrices("model", embed_tokens=(_VOCABULARY, _WIDTH))

    def matrices(self, place: str, **shapes: tuple[int, ...]) -> None:
        for name, shape in shapes.items():
            self._tensors[f"{place}.{name}.weight"] = (self._random.standard_normal(shape) * 0.1).astype(np.float32)

    def norms(self, place: str, *names: str, size: int = _WIDTH) -> None:
        for name in names:
            self._tensors[f"{place}.{name}.weight"] = np.ones(size, np.float32)

    def attention(self, place: str, *, output: str, norm: str) -> None:
        self.matrices(place, q_proj=(_HEADS * _HEAD, _WIDTH), k_proj=(_HEAD, _WIDTH), v_proj=(_HEAD, _WIDTH))
        self.matrices(place, **{output: (_WIDTH, _HEADS * _HEAD)})
        self.norms(place, norm.format("q"), norm.format("k"), size=_HEAD)

    def finish(self, folder: Path, config: dict[str, Any]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self._tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(_SHARED | config))
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            shutil.copyfile(TINY.with_name(name), folder / name)
        return folder
