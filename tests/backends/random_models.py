"""Tiny models with random weights, for cache behaviour that the bundled model cannot show: sliding window, recurrent.

Their tokens are bytes, so every text has one token a byte, and what they say is noise that depends on all they saw.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf import GGUFWriter, TokenType

WINDOW_TOKENS = 64
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_WIDTH, _INNER = 64, 128


def write_swa(path: Path, *, template: str | None = TEMPLATE) -> Path:
    """A model of which three layers in four see the last 64 tokens only (cohere2)."""
    w = _Writer(path, "cohere2", layers=4, template=template)
    w.add_layer_norm_eps(1e-5)
    w.add_rope_dimension_count(16)
    w.add_logit_scale(1.0)
    w.add_sliding_window(WINDOW_TOKENS)
    w.weight("token_embd", w.words, _WIDTH)
    w.ones("output_norm", _WIDTH)
    for layer in range(4):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            w.weight(f"blk.{layer}.{name}", _WIDTH, _WIDTH)
        w.weight(f"blk.{layer}.ffn_gate", _INNER, _WIDTH)
        w.weight(f"blk.{layer}.ffn_up", _INNER, _WIDTH)
        w.weight(f"blk.{layer}.ffn_down", _WIDTH, _INNER)
        w.ones(f"blk.{layer}.attn_norm", _WIDTH)
    return w.finish()


def write_mamba(path: Path) -> Path:
    """A recurrent model: its state holds everything, and cannot be cut back."""
    state, rank, kernel = 16, 4, 4
    w = _Writer(path, "mamba", layers=2, template=TEMPLATE)
    w.add_ssm_conv_kernel(kernel)
    w.add_ssm_inner_size(_INNER)
    w.add_ssm_state_size(state)
    w.add_ssm_time_step_rank(rank)
    w.weight("token_embd", w.words, _WIDTH)
    w.ones("output_norm", _WIDTH)
    w.weight("output", w.words, _WIDTH)
    for layer in range(2):
        w.ones(f"blk.{layer}.attn_norm", _WIDTH)
        w.weight(f"blk.{layer}.ssm_in", 2 * _INNER, _WIDTH)
        w.weight(f"blk.{layer}.ssm_conv1d", _INNER, kernel)
        w.add_tensor(f"blk.{layer}.ssm_conv1d.bias", np.zeros(_INNER, np.float32))
        w.weight(f"blk.{layer}.ssm_x", rank + 2 * state, _INNER)
        w.weight(f"blk.{layer}.ssm_dt", _INNER, rank)
        w.add_tensor(f"blk.{layer}.ssm_dt.bias", np.zeros(_INNER, np.float32))
        w.add_tensor(f"blk.{layer}.ssm_a", -np.abs(w.random(_INNER, state)))
        w.add_tensor(f"blk.{layer}.ssm_d", np.ones(_INNER, np.float32))
        w.weight(f"blk.{layer}.ssm_out", _WIDTH, _INNER)
    return w.finish()


def write_wide(path: Path) -> Path:
    """A dense model with 100 MiB of weights and a cache of 4 KiB a token, so 128 MiB at 32768 tokens (llama)."""
    width, inner = 256, 8192
    w = _Writer(path, "llama", layers=4, template=TEMPLATE, width=width, inner=inner, context=32768)
    w.add_rope_dimension_count(width // 4)
    w.weight("token_embd", w.words, width)
    w.ones("output_norm", width)
    for layer in range(4):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            w.weight(f"blk.{layer}.{name}", width, width)
        w.weight(f"blk.{layer}.ffn_gate", inner, width)
        w.weight(f"blk.{layer}.ffn_up", inner, width)
        w.weight(f"blk.{layer}.ffn_down", width, inner)
        w.ones(f"blk.{layer}.attn_norm", width)
        w.ones(f"blk.{layer}.ffn_norm", width)
    return w.finish()


def write_unknown(path: Path) -> Path:
    """A whole file of an architecture that no engine knows."""
    w = _Writer(path, "dynosaur", layers=1, template=TEMPLATE)
    w.ones("output_norm", _WIDTH)
    return w.finish()


class _Writer(GGUFWriter):
    """A GGUF writer with a vocabulary of bytes and seeded random weights."""

    def __init__(
        self,
        path: Path,
        architecture: str,
        *,
        layers: int,
        template: str | None,
        width: int = _WIDTH,
        inner: int = _INNER,
        context: int = 8192,
    ) -> None:
        super().__init__(path, architecture)
        self._to = path
        self._random = np.random.default_rng(0)
        self.add_name(f"random-{architecture}")
        self.add_context_length(context)
        self.add_embedding_length(width)
        self.add_block_count(layers)
        recurrent = architecture == "mamba"
        self.add_feed_forward_length(0 if recurrent else inner)
        self.add_head_count(0 if recurrent else 4)
        self.add_head_count_kv(4)
        self.add_layer_norm_rms_eps(1e-5)
        self.add_file_type(gguf.LlamaFileType.ALL_F32)
        self.words = self._vocabulary()
        if template is not None:
            self.add_chat_template(template)

    def random(self, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return (self._random.standard_normal(shape) * 0.2).astype(np.float32)

    def weight(self, name: str, *shape: int) -> None:
        self.add_tensor(f"{name}.weight", self.random(*shape))

    def ones(self, name: str, width: int) -> None:
        self.add_tensor(f"{name}.weight", np.ones(width, np.float32))

    def finish(self) -> Path:
        self.write_header_to_file()
        self.write_kv_data_to_file()
        self.write_tensors_to_file()
        self.close()
        return self._to

    def _vocabulary(self) -> int:
        words = [
            b"<unk>",
            b"<s>",
            b"</s>",
            *(f"<0x{i:02X}>".encode() for i in range(256)),
            b"<|im_start|>",
            b"<|im_end|>",
        ]
        control, byte = TokenType.CONTROL, TokenType.BYTE
        self.add_tokenizer_model("llama")
        self.add_token_list(words)
        self.add_token_scores([0.0] * len(words))
        self.add_token_types([TokenType.UNKNOWN, control, control, *[byte] * 256, control, control])
        self.add_bos_token_id(1)
        self.add_eos_token_id(2)
        self.add_unk_token_id(0)
        self.add_add_bos_token(True)
        self.add_add_space_prefix(False)
        return len(words)
