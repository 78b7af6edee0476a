"""Models of the size of public ones without their weights: real headers, data that is a hole in the file.

Tensor names and shapes are those that llama.cpp asks for (`src/models/*.cpp`, `load_arch_tensors`), so that the real
engine plans them. None has a vocabulary; all matrices are F16, all vectors F32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from tests.profiler.model_file.gguf_bytes import Row, Value, keys, write_gguf

_F32, _F16 = 0, 1
Shapes = dict[str, tuple[int, ...]]


def _write(
    path: Path, architecture: str, values: dict[str, Value], layers: list[Shapes], *, tied: bool = False
) -> Path:
    width, words = int(values["embedding_length"]), int(values["vocab_size"])  # type: ignore[arg-type]
    shapes: Shapes = {"token_embd.weight": (width, words), "output_norm.weight": (width,)}
    if not tied:
        shapes["output.weight"] = (width, words)
    for il, layer in enumerate(layers):
        shapes |= {f"blk.{il}.{name}": shape for name, shape in layer.items()}
    rows: list[Row] = []
    for name, shape in shapes.items():
        whole = len(shape) == 1 or "conv1d" in name or "ssm_norm" in name or name.endswith(("ssm_a", "ssm_d"))
        rows.append((name, shape, _F32 if whole else _F16, math.prod(shape) * (4 if whole else 2)))
    header = keys(architecture, **({"context_length": 131072, "block_count": len(layers)} | values))
    return write_gguf(path, header | {"tokenizer.ggml.model": "no_vocab", "general.file_type": 1}, rows)


def _dense(width: int, query: int, key: int, value: int, inner: int, **more: tuple[int, ...]) -> Shapes:
    feed_forward = {"ffn_gate": (width, inner), "ffn_up": (width, inner), "ffn_down": (inner, width)} if inner else {}
    named: Shapes = {
        "attn_norm": (width,), "attn_q": (width, query), "attn_k": (width, key), "attn_v": (width, value),
        "attn_output": (query, width), "ffn_norm": (width,), **feed_forward, **more,
    }  # fmt: skip
    return {f"{name}.weight": shape for name, shape in named.items()}


def dense(path: Path) -> Path:
    """About Qwen3-32B."""
    values: dict[str, Value] = {
        "embedding_length": 5120, "attention__head_count": 64, "attention__head_count_kv": 8, "vocab_size": 151936,
        "attention__key_length": 128, "attention__value_length": 128, "feed_forward_length": 25600,
    }  # fmt: skip
    layer = _dense(5120, 8192, 1024, 1024, 25600, attn_q_norm=(128,), attn_k_norm=(128,))
    return _write(path, "qwen3", _floats(values), [layer] * 64)


def experts(path: Path) -> Path:
    """About Qwen3-30B-A3B."""
    values: dict[str, Value] = {
        "embedding_length": 2048, "attention__head_count": 32, "attention__head_count_kv": 4, "vocab_size": 151936,
        "attention__key_length": 128, "attention__value_length": 128, "feed_forward_length": 6144,
        "expert_count": 128, "expert_used_count": 8, "expert_feed_forward_length": 768,
    }  # fmt: skip
    expert = {"ffn_gate_inp": (2048, 128), "ffn_gate_exps": (2048, 768, 128), "ffn_up_exps": (2048, 768, 128)}
    layer = _dense(
        2048, 4096, 512, 512, 0, attn_q_norm=(128,), attn_k_norm=(128,), ffn_down_exps=(768, 2048, 128), **expert
    )
    return _write(path, "qwen3moe", _floats(values), [layer] * 48)


def windows(path: Path) -> Path:
    """About gemma-3-27b."""
    values: dict[str, Value] = {
        "embedding_length": 5376, "attention__head_count": 32, "attention__head_count_kv": 16, "vocab_size": 262208,
        "attention__key_length": 128, "attention__value_length": 128, "feed_forward_length": 21504,
        "attention__sliding_window": 1024,
    }  # fmt: skip
    norms = dict.fromkeys(("post_attention_norm", "post_ffw_norm"), (5376,))
    layer = _dense(5376, 4096, 2048, 2048, 21504, attn_q_norm=(128,), attn_k_norm=(128,), **norms)
    return _write(path, "gemma3", _floats(values), [layer] * 62, tied=True)


def latent(path: Path) -> Path:
    """About DeepSeek-V2-Lite, with the compressed rows."""
    values: dict[str, Value] = {
        "embedding_length": 2048, "attention__head_count": 16, "attention__head_count_kv": 1, "vocab_size": 102400,
        "attention__key_length": 576, "attention__value_length": 512, "attention__key_length_mla": 192,
        "attention__value_length_mla": 128, "attention__kv_lora_rank": 512, "rope__dimension_count": 64,
        "feed_forward_length": 10944, "expert_count": 64, "expert_used_count": 6, "expert_feed_forward_length": 1408,
        "expert_shared_count": 2, "leading_dense_block_count": 1,
    }  # fmt: skip
    attention: Shapes = {
        "attn_norm.weight": (2048,), "attn_q.weight": (2048, 16 * 192), "attn_kv_a_mqa.weight": (2048, 576),
        "attn_kv_a_norm.weight": (512,), "attn_k_b.weight": (128, 512, 16), "attn_v_b.weight": (512, 128, 16),
        "attn_output.weight": (16 * 128, 2048), "ffn_norm.weight": (2048,),
    }  # fmt: skip
    first = attention | {
        "ffn_gate.weight": (2048, 10944),
        "ffn_up.weight": (2048, 10944),
        "ffn_down.weight": (10944, 2048),
    }
    other = attention | {
        "ffn_gate_inp.weight": (2048, 64),
        "ffn_gate_exps.weight": (2048, 1408, 64),
        "ffn_up_exps.weight": (2048, 1408, 64),
        "ffn_down_exps.weight": (1408, 2048, 64),
        "ffn_gate_shexp.weight": (2048, 2816),
        "ffn_up_shexp.weight": (2048, 2816),
        "ffn_down_shexp.weight": (2816, 2048),
    }
    return _write(path, "deepseek2", _floats(values), [first] + [other] * 26)


def _mamba2(width: int, inner: int, state: int, groups: int, heads: int) -> Shapes:
    mixed = inner + 2 * groups * state
    return {
        "ssm_in.weight": (width, inner + mixed + heads), "ssm_conv1d.weight": (4, mixed), "ssm_conv1d.bias": (mixed,),
        "ssm_dt.bias": (heads,), "ssm_a": (1, heads), "ssm_d": (1, heads), "ssm_norm.weight": (inner // groups, groups),
        "ssm_out.weight": (inner, width), "attn_norm.weight": (width,),
    }  # fmt: skip


_SSM: dict[str, Value] = {"ssm__conv_kernel": 4, "vocab_size": 32768}


def recurrent(path: Path) -> Path:
    """An eighth of mamba2-2.7b: states are really allocated, even in a plan."""
    values = _SSM | {
        "embedding_length": 2560, "attention__head_count": 0, "feed_forward_length": 0, "ssm__inner_size": 5120,
        "ssm__state_size": 128, "ssm__time_step_rank": 80, "ssm__group_count": 1,
    }  # fmt: skip
    return _write(path, "mamba2", _floats(values), [_mamba2(2560, 5120, 128, 1, 80)] * 8)


def beside(path: Path) -> Path:
    """A sixth of Falcon-H1-1.5B: attention and a state in every layer."""
    values = _SSM | {
        "embedding_length": 2048,
        "attention__head_count": 8,
        "attention__head_count_kv": 2,
        "feed_forward_length": 4096,
        "attention__key_length": 128,
        "attention__value_length": 128,
        "ssm__inner_size": 3072,
        "ssm__state_size": 256,
        "ssm__time_step_rank": 48,
        "ssm__group_count": 1,
    }
    layer = _dense(2048, 1024, 256, 256, 4096) | _mamba2(2048, 3072, 256, 1, 48)
    layer["ffn_norm"] = layer.pop("ffn_norm.weight")
    return _write(path, "falcon-h1", _floats(values), [layer] * 4)


def mixed(path: Path) -> Path:
    """A sixth of Nemotron-Nano-9B-v2: states, a few layers with attention, the others feed-forward only."""
    pattern = "M-M-M*-MM-"
    values = _SSM | {
        "embedding_length": 4480, "attention__head_count": 40,
        "attention__head_count_kv": [8 if kind == "*" else 0 for kind in pattern],
        "feed_forward_length": [15680 if kind == "-" else 0 for kind in pattern],
        "attention__key_length": 128, "attention__value_length": 128, "ssm__inner_size": 10240, "ssm__state_size": 128,
        "ssm__time_step_rank": 128, "ssm__group_count": 8, "attention__layer_norm_epsilon": 1e-6,
    }  # fmt: skip
    attention = _dense(4480, 5120, 1024, 1024, 0)
    del attention["ffn_norm.weight"]
    layers = {
        "M": _mamba2(4480, 10240, 128, 8, 128), "*": attention,
        "-": {"attn_norm.weight": (4480,), "ffn_up.weight": (4480, 15680), "ffn_down.weight": (15680, 4480)},
    }  # fmt: skip
    return _write(path, "nemotron_h", _floats(values), [layers[kind] for kind in pattern])


def delta(path: Path) -> Path:
    """A quarter of Qwen3-Next-80B-A3B: a gated delta net in three layers of four."""
    values = _SSM | {
        "embedding_length": 2048, "attention__head_count": 16, "attention__head_count_kv": 2, "vocab_size": 151936,
        "attention__key_length": 256, "attention__value_length": 256, "feed_forward_length": 5120,
        "ssm__inner_size": 4096, "ssm__state_size": 128, "ssm__time_step_rank": 32, "ssm__group_count": 16,
        "expert_count": 512, "expert_used_count": 10, "expert_feed_forward_length": 512,
        "expert_shared_feed_forward_length": 512, "rope__dimension_count": 64,
    }  # fmt: skip
    feed_forward: Shapes = {
        "attn_norm.weight": (2048,), "post_attention_norm.weight": (2048,), "ffn_gate_inp.weight": (2048, 512),
        "ffn_down_exps.weight": (512, 2048, 512), "ffn_gate_exps.weight": (2048, 512, 512),
        "ffn_up_exps.weight": (2048, 512, 512), "ffn_gate_inp_shexp.weight": (2048,),
        "ffn_gate_shexp.weight": (2048, 512), "ffn_up_shexp.weight": (2048, 512), "ffn_down_shexp.weight": (512, 2048),
    }  # fmt: skip
    attention = feed_forward | {
        "attn_q.weight": (2048, 8192), "attn_k.weight": (2048, 512), "attn_v.weight": (2048, 512),
        "attn_output.weight": (4096, 2048), "attn_q_norm.weight": (256,), "attn_k_norm.weight": (256,),
    }  # fmt: skip
    linear = feed_forward | {
        "ssm_in.weight": (2048, 12288), "ssm_conv1d.weight": (4, 8192), "ssm_dt.bias": (32,), "ssm_a": (32,),
        "ssm_ba.weight": (2048, 64), "ssm_norm.weight": (128,), "ssm_out.weight": (4096, 2048),
    }  # fmt: skip
    return _write(path, "qwen3next", _floats(values), [attention if il % 4 == 3 else linear for il in range(12)])


def _floats(values: dict[str, Value]) -> dict[str, Value]:
    return values | {"attention__layer_norm_rms_epsilon": 1e-6}


MODELS: tuple[Callable[[Path], Path], ...] = (
    dense, experts, windows, latent, recurrent, beside, mixed, delta,
)  # fmt: skip
