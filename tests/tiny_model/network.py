"""The network in torch: the qwen3 architecture, small. Parameter names are those of Hugging Face."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. All row sizes divide by 256, so every K quant applies without falling back."""

    vocabulary: int = 1024
    hidden: int = 256
    feed_forward: int = 768
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head: int = 64
    context: int = 32768
    rope_theta: float = 1_000_000.0
    norm_epsilon: float = 1e-6


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


class Attention(nn.Module):
    """Causal grouped-query attention with normalised queries and keys. (batch, time, hidden) in and out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q_proj = nn.Linear(shape.hidden, shape.heads * shape.head, bias=False)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head, bias=False)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head, bias=False)
        self.o_proj = nn.Linear(shape.heads * shape.head, shape.hidden, bias=False)
        self.q_norm = RMSNorm(shape.head, shape.norm_epsilon)
        self.k_norm = RMSNorm(shape.head, shape.norm_epsilon)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, time, _ = x.shape
        shape = self.shape
        q = self.q_norm(self.q_proj(x).view(batch, time, shape.heads, shape.head)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(batch, time, shape.kv_heads, shape.head)).transpose(1, 2)
        v = self.v_proj(x).view(batch, time, shape.kv_heads, shape.head).transpose(1, 2)
        q, k = rotate(q, cosine, sine).to(v.dtype), rotate(k, cosine, sine).to(v.dtype)
        # Repeated by hand: torch's own grouping (`enable_gqa`) leaves the flash kernel on a CPU.
        repeats = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, time, -1))


class FeedForward(nn.Module):
    """The gated feed-forward layer (SwiGLU)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer: attention and feed-forward, each added to its input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = FeedForward(shape)
        self.input_layernorm = RMSNorm(shape.hidden, shape.norm_epsilon)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.norm_epsilon)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine)
        return x + self.mlp(self.post_attention_layernorm(x))


class TinyModel(nn.Module):
    """Token ids (batch, time) to the hidden states (batch, time, hidden) before the (tied) output layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_epsilon)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # The layers that write into the residual stream start smaller, as in GPT-2.
                writes = "o_proj" in name or "down_proj" in name
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * shape.layers) if writes else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        cosine, sine = rope(tokens.shape[1], self.shape)
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, cosine, sine)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for hidden states of any leading shape."""
        return F.linear(hidden, self.embed_tokens.weight)


def rope(time: int, shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding, each (time, head)."""
    frequency = shape.rope_theta ** -(torch.arange(0, shape.head, 2).float() / shape.head)
    angle = torch.arange(time).float()[:, None] * frequency
    return torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the halves of each head against each other (NEOX order)."""
    half = x.shape[-1] // 2
    return x * cosine + torch.cat([-x[..., half:], x[..., :half]], -1) * sine
