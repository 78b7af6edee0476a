"""Models with random weights, large enough that caches, repacked weights and states outweigh the engine's program.

They have the tokenizer and the template of the bundled model and say nothing sensible. One block of random values is
repeated through all tensors, so that hundreds of MiB are written in a second or two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import gguf
import msgspec
import numpy as np

from tests.tiny_model.export import ROPE_THETA, VOCABULARY, add_tokenizer, finish, quantize
from tests.tiny_model.templates import FOLDER, STABLE
from tests.tiny_model.tokenizer import END_OF_TEXT, TURN_END

CONTEXT_TOKENS = 32768
WINDOW_TOKENS = 1024
CONVOLUTION_TOKENS = 3
_VALUES = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32) * 0.02


class Size(msgspec.Struct, frozen=True):
    """How large a model is; `attention` are the layers with attention, `None` for all."""

    hidden: int
    heads: int
    kv_heads: int
    head: int
    feed_forward: int
    layers: int
    attention: tuple[int, ...] | None = None


DEEP_CACHE = Size(hidden=512, heads=8, kv_heads=8, head=128, feed_forward=1024, layers=12)
"""48 KiB of f16 cache a token: 384 MiB at 8192."""
HEAVY = Size(hidden=1024, heads=8, kv_heads=2, head=128, feed_forward=4096, layers=16)
"""240 M parameters."""
WINDOWED = Size(hidden=256, heads=4, kv_heads=4, head=128, feed_forward=512, layers=24)
HYBRID = Size(hidden=1024, heads=8, kv_heads=8, head=128, feed_forward=512, layers=12, attention=(2, 5, 8, 11))
RECURRENT = Size(hidden=512, heads=0, kv_heads=0, head=0, feed_forward=0, layers=24)
STATE_VALUES, STATE_INNER, STATE_RANK, STATE_KERNEL = 64, 1024, 32, 4


def write_quantised(path: Path, size: Size, file_type: str) -> Path:
    """A dense model whose weights the processor's kernels want repacked (`MOSTLY_Q4_0`, …)."""
    whole = write_dense(path.with_suffix(".f16.gguf"), size)
    quantize(whole, path, file_type)
    whole.unlink()
    return path


def write_vocabulary(path: Path, tokens: int) -> Path:
    """A small model with a vocabulary of that many tokens: those of the bundled model, then made-up words."""
    size = Size(hidden=64, heads=1, kv_heads=1, head=64, feed_forward=64, layers=1)
    described = json.loads((FOLDER / "tokenizer.json").read_text())
    known = sorted(described["model"]["vocab"], key=described["model"]["vocab"].__getitem__)
    digits = "bcdfghjklmnpqrst"
    made_up = ["".join(digits[int(d, 16)] for d in f"{number:x}") + "aeiou" for number in range(tokens - len(known))]
    writer = gguf.GGUFWriter(path, "qwen3")
    _describe(writer, path, size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*known, *made_up])
    writer.add_token_types([gguf.TokenType.NORMAL] * tokens)
    merges = [" ".join(pair) for pair in described["model"]["merges"]]
    writer.add_token_merges([*merges, *(f"{word[:1]} {word[1:]}" for word in made_up)])
    writer.add_eos_token_id(TURN_END)
    writer.add_bos_token_id(END_OF_TEXT)
    writer.add_add_bos_token(False)
    writer.add_chat_template(STABLE.read_text())
    _add(writer, 0, (*_attention(size), *_feed_forward(size)))
    return _finish(writer, path, size, vocabulary=tokens)


def write_dense(path: Path, size: Size) -> Path:
    """A qwen3 model: attention to everything in every layer."""
    writer = _writer(path, "qwen3", size)
    for layer in range(size.layers):
        _add(writer, layer, (*_attention(size), *_feed_forward(size)))
    return _finish(writer, path, size)


def write_windowed(path: Path, size: Size) -> Path:
    """A gemma3 model: a window in five of six layers."""
    writer = _writer(path, "gemma3", size)
    writer.add_sliding_window(WINDOW_TOKENS)
    norms = ("post_attention_norm", "post_ffw_norm")
    for layer in range(size.layers):
        own = (*_attention(size), *_feed_forward(size), *((name, (size.hidden,)) for name in norms))
        _add(writer, layer, own)
    return _finish(writer, path, size)


def write_hybrid(path: Path, size: Size) -> Path:
    """An lfm2 model: attention in some layers, short convolutions with a state in the others."""
    attention = size.attention or ()
    writer = _writer(path, "lfm2", size, kv_heads=[size.kv_heads * (n in attention) for n in range(size.layers)])
    writer.add_shortconv_l_cache(CONVOLUTION_TOKENS)
    convolution = (
        ("attn_norm", (size.hidden,)),
        ("shortconv.conv", (size.hidden, CONVOLUTION_TOKENS)),
        ("shortconv.in_proj", (3 * size.hidden, size.hidden)),
        ("shortconv.out_proj", (size.hidden, size.hidden)),
    )
    for layer in range(size.layers):
        _add(writer, layer, (*(_attention(size) if layer in attention else convolution), *_feed_forward(size)))
    return _finish(writer, path, size, norm="token_embd_norm")


def write_recurrent(path: Path, size: Size) -> Path:
    """A mamba model: a state in every layer, no attention."""
    writer = _writer(path, "mamba", size)
    writer.add_ssm_conv_kernel(STATE_KERNEL)
    writer.add_ssm_inner_size(STATE_INNER)
    writer.add_ssm_state_size(STATE_VALUES)
    writer.add_ssm_time_step_rank(STATE_RANK)
    for layer in range(size.layers):
        _add(
            writer,
            layer,
            (
                ("attn_norm", (size.hidden,)),
                ("ssm_in", (2 * STATE_INNER, size.hidden)),
                ("ssm_conv1d", (STATE_INNER, STATE_KERNEL)),
                ("ssm_x", (STATE_RANK + 2 * STATE_VALUES, STATE_INNER)),
                ("ssm_dt", (STATE_INNER, STATE_RANK)),
                ("ssm_out", (size.hidden, STATE_INNER)),
            ),
        )
        writer.add_tensor(f"blk.{layer}.ssm_conv1d.bias", np.zeros(STATE_INNER, np.float32))
        writer.add_tensor(f"blk.{layer}.ssm_dt.bias", np.zeros(STATE_INNER, np.float32))
        writer.add_tensor(f"blk.{layer}.ssm_a", np.full((STATE_INNER, STATE_VALUES), -1.0, np.float32))
        writer.add_tensor(f"blk.{layer}.ssm_d", np.ones(STATE_INNER, np.float32))
    return _finish(writer, path, size)


def _writer(path: Path, architecture: str, size: Size, kv_heads: list[int] | None = None) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture)
    _describe(writer, path, size, kv_heads)
    writer.add_vocab_size(VOCABULARY)
    add_tokenizer(writer, FOLDER / "tokenizer.json", STABLE)
    return writer


def _describe(writer: gguf.GGUFWriter, path: Path, size: Size, kv_heads: list[int] | None = None) -> None:
    writer.add_name(f"random-{path.stem}")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(size.hidden)
    writer.add_block_count(size.layers)
    writer.add_feed_forward_length(size.feed_forward)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(kv_heads or size.kv_heads)
    if size.head:
        writer.add_key_length(size.head)
        writer.add_value_length(size.head)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(ROPE_THETA)


def _attention(size: Size) -> Iterable[tuple[str, tuple[int, ...]]]:
    queries, keys = size.heads * size.head, size.kv_heads * size.head
    return (
        ("attn_norm", (size.hidden,)),
        ("attn_q", (queries, size.hidden)),
        ("attn_k", (keys, size.hidden)),
        ("attn_v", (keys, size.hidden)),
        ("attn_output", (size.hidden, queries)),
        ("attn_q_norm", (size.head,)),
        ("attn_k_norm", (size.head,)),
    )


def _feed_forward(size: Size) -> Iterable[tuple[str, tuple[int, ...]]]:
    return (
        ("ffn_norm", (size.hidden,)),
        ("ffn_gate", (size.feed_forward, size.hidden)),
        ("ffn_up", (size.feed_forward, size.hidden)),
        ("ffn_down", (size.hidden, size.feed_forward)),
    )


def _add(writer: gguf.GGUFWriter, layer: int, tensors: Iterable[tuple[str, tuple[int, ...]]]) -> None:
    for name, shape in tensors:
        _weight(writer, f"blk.{layer}.{name}.weight", shape)


def _weight(writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...]) -> None:
    # llama.cpp wants norms and convolution kernels in float32.
    whole = len(shape) == 1 or "conv" in name.rsplit(".", 2)[1]
    values = np.ones(shape, np.float32) if len(shape) == 1 else np.resize(_VALUES, shape)
    writer.add_tensor(name, values if whole else values.astype(np.float16))


def _finish(
    writer: gguf.GGUFWriter, path: Path, size: Size, norm: str = "output_norm", vocabulary: int = VOCABULARY
) -> Path:
    _weight(writer, "token_embd.weight", (vocabulary, size.hidden))
    _weight(writer, f"{norm}.weight", (size.hidden,))
    finish(writer)
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "heavy-q4_0": lambda path: write_quantised(path, HEAVY, "MOSTLY_Q4_0"),
    "heavy-q4_k_m": lambda path: write_quantised(path, HEAVY, "MOSTLY_Q4_K_M"),
    "deep-cache-f16": lambda path: write_dense(path, DEEP_CACHE),
    "windowed-f16": lambda path: write_windowed(path, WINDOWED),
    "hybrid-f16": lambda path: write_hybrid(path, HYBRID),
    "recurrent-f16": lambda path: write_recurrent(path, RECURRENT),
    "vocabulary-152k": lambda path: write_vocabulary(path, 152_000),
}
"""By the model's name, what writes it to a file."""
