"""Random-weight models of architectures whose caches behave differently, made on the spot.

The trained model is dense: every earlier token can be kept or dropped. A sliding-window model forgets, a
hybrid has a recurrent state that cannot be cut back; engines keep checkpoints or start again. These two say
nothing sensible, but they have the tokenizer, the template and the context of the trained model, load in the
real engines, and are equal byte for byte on each machine of the same byte order. About 2 MB each, in well
under a second.
"""

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.tiny_model.export import CONTEXT, ROPE_THETA, VOCABULARY, add_tokenizer, finish
from tests.tiny_model.templates import FOLDER, STABLE

SEED = 0
WINDOW = 128
HIDDEN, HEADS, KV_HEADS, FEED_FORWARD = 128, 2, 1, 256
HEAD = HIDDEN // HEADS
WINDOW_LAYERS = 6  # gemma3: five layers with a window, then one that sees everything
HYBRID_LAYERS, HYBRID_ATTENTION = 4, (1, 3)  # lfm2: short convolutions, with attention in these layers
CONVOLUTION = 3

Array = NDArray[np.float32]
Draw = Callable[..., Array]


def write_sliding_window(path: Path) -> Path:
    """Write a gemma3 GGUF (a window of 128 tokens in 5 of 6 layers, none in the last). Returns `path`."""
    writer = _writer(path, "gemma3", "dyno-tiny-sliding-window", WINDOW_LAYERS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_sliding_window(WINDOW)
    draw = _draw()
    tensors = {"token_embd": draw(VOCABULARY, HIDDEN), "output_norm": _ones(HIDDEN)}
    for layer in range(WINDOW_LAYERS):
        own = _attention(draw) | _feed_forward(draw)
        own |= {name: _ones(HIDDEN) for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")}
        tensors |= {f"blk.{layer}.{name}": tensor for name, tensor in own.items()}
    return _finish(writer, path, tensors)


def write_hybrid(path: Path) -> Path:
    """Write an lfm2 GGUF (recurrent short convolutions, attention in two of four layers). Returns `path`."""
    writer = _writer(path, "lfm2", "dyno-tiny-hybrid", HYBRID_LAYERS)
    writer.add_head_count_kv([KV_HEADS if layer in HYBRID_ATTENTION else 0 for layer in range(HYBRID_LAYERS)])
    writer.add_shortconv_l_cache(CONVOLUTION)
    draw = _draw()
    tensors = {"token_embd": draw(VOCABULARY, HIDDEN), "token_embd_norm": _ones(HIDDEN)}
    for layer in range(HYBRID_LAYERS):
        own = _attention(draw) if layer in HYBRID_ATTENTION else _convolution(draw)
        own |= _feed_forward(draw) | {"attn_norm": _ones(HIDDEN), "ffn_norm": _ones(HIDDEN)}
        tensors |= {f"blk.{layer}.{name}": tensor for name, tensor in own.items()}
    return _finish(writer, path, tensors)


def _writer(path: Path, architecture: str, name: str, layers: int) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_vocab_size(VOCABULARY)
    add_tokenizer(writer, FOLDER / "tokenizer.json", STABLE)
    return writer


def _finish(writer: gguf.GGUFWriter, path: Path, tensors: dict[str, Array]) -> Path:
    for name, tensor in tensors.items():
        # llama.cpp wants norms and convolution kernels in float32.
        whole = tensor.ndim == 1 or "conv.conv" in name
        writer.add_tensor(f"{name}.weight", tensor if whole else tensor.astype(np.float16))
    finish(writer)
    return path


def _draw() -> Draw:
    random = np.random.default_rng(SEED)
    return lambda *shape, scale=0.05: (random.standard_normal(shape) * scale).astype(np.float32)


def _ones(size: int) -> Array:
    return np.ones(size, np.float32)


def _attention(draw: Draw) -> dict[str, Array]:
    return {
        "attn_q": draw(HEADS * HEAD, HIDDEN),
        "attn_k": draw(KV_HEADS * HEAD, HIDDEN),
        "attn_v": draw(KV_HEADS * HEAD, HIDDEN),
        "attn_output": draw(HIDDEN, HEADS * HEAD),
        "attn_q_norm": _ones(HEAD),
        "attn_k_norm": _ones(HEAD),
    }


def _convolution(draw: Draw) -> dict[str, Array]:
    return {
        "shortconv.conv": draw(HIDDEN, CONVOLUTION, scale=0.3),
        "shortconv.in_proj": draw(3 * HIDDEN, HIDDEN),
        "shortconv.out_proj": draw(HIDDEN, HIDDEN),
    }


def _feed_forward(draw: Draw) -> dict[str, Array]:
    return {
        "ffn_gate": draw(FEED_FORWARD, HIDDEN),
        "ffn_up": draw(FEED_FORWARD, HIDDEN),
        "ffn_down": draw(HIDDEN, FEED_FORWARD),
    }
