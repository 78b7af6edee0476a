"""Headers of models with the sizes of public ones, without weights: what a plan needs, in some 60 KiB."""

from __future__ import annotations

from pathlib import Path

import gguf
import msgspec
import numpy as np

from tests.tiny_model.export import VOCABULARY, add_tokenizer
from tests.tiny_model.templates import FOLDER, STABLE


class Shape(msgspec.Struct, frozen=True):
    """Sizes of a dense model; a window in five of six layers where `window` is given (gemma3)."""

    hidden: int
    heads: int
    kv_heads: int
    head: int
    feed_forward: int
    layers: int
    window: int | None = None


GEMMA_3_270M = Shape(hidden=640, heads=4, kv_heads=1, head=256, feed_forward=2048, layers=18, window=512)
LLAMA_70B = Shape(hidden=8192, heads=64, kv_heads=8, head=128, feed_forward=28672, layers=80)
"""127.5 GiB in f16 (with a small vocabulary)."""


def write_header(path: Path, shape: Shape, *, context: int = 32768) -> Path:
    """Write the header of a GGUF of this shape, and none of its weights. Returns `path`."""
    writer = gguf.GGUFWriter(path, "qwen3" if shape.window is None else "gemma3")
    writer.add_name(path.stem)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    if shape.window is not None:
        writer.add_sliding_window(shape.window)
    add_tokenizer(writer, FOLDER / "tokenizer.json", STABLE)
    for name, dimensions in _tensors(shape).items():
        # One value for all: no memory, and it is never written.
        number = np.float32(0) if len(dimensions) == 1 else np.float16(0)
        writer.add_tensor(f"{name}.weight", np.broadcast_to(number, dimensions))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return path


def parameters(shape: Shape) -> int:
    """Weights of the whole model."""
    return sum(int(np.prod(dimensions)) for dimensions in _tensors(shape).values())


def _tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm": (shape.hidden,),
        "attn_q": (queries, shape.hidden),
        "attn_k": (keys, shape.hidden),
        "attn_v": (keys, shape.hidden),
        "attn_output": (shape.hidden, queries),
        "attn_q_norm": (shape.head,),
        "attn_k_norm": (shape.head,),
        "ffn_norm": (shape.hidden,),
        "ffn_gate": (shape.feed_forward, shape.hidden),
        "ffn_up": (shape.feed_forward, shape.hidden),
        "ffn_down": (shape.hidden, shape.feed_forward),
    }
    if shape.window is not None:
        layer |= {"post_attention_norm": (shape.hidden,), "post_ffw_norm": (shape.hidden,)}
    named = {f"blk.{n}.{name}": dimensions for n in range(shape.layers) for name, dimensions in layer.items()}
    return {"token_embd": (VOCABULARY, shape.hidden), "output_norm": (shape.hidden,), **named}
