"""Usual values, for what no formula gives: the least sure basis. Each says where it is from.

The working memory of llama.cpp is fitted to its own plans (llama-cpp-python 0.3.36 on a CPU: dense, windowed, latent
and expert models of 0.2 M to 33 G parameters, ubatch 128 to 512, context 2k to 40k: within 10 %, a test holds it). On
devices it is not verified; the engine's own plan is the one to trust.
"""

from __future__ import annotations

from typing import Final

from profiler.fit.base import Part
from profiler.model_file.base import ModelFile

LLAMA_RUNTIME_BYTES: Final = 30 << 20
"""Threads, tables of tokens and code that a process with llama.cpp holds beside its buffers, on a CPU."""
ENGINE_RUNTIME_BYTES: Final = {"llama-server": 16_148_000, "llama-cpp": 26_214_000}
"""What an engine's program holds without a model, where its plan tells the rest, tables of tokens too: 15.4 and 25.0
MiB, measured by `benchmarks/residency_prediction.py` on Linux, of xllamacpp 2026.10.11549 and llama-cpp-python 0.3.36.
"""
MLX_RUNTIME_BYTES: Final = 150 << 20
"""Python with mlx and mlx-lm loaded, before any model."""
DEVICE_RUNTIME_BYTES: Final = 457 << 20
"""What CUDA's context and libraries hold on a device: the constant that Ollama found by trial; not verified here."""


def runtime(size: int, place: str) -> Part:
    """What a process holds beside the model."""
    on_device = place == "device"
    arithmetic = f"about {size >> 20} MiB {'for the context of the device' if on_device else 'for the process itself'}"
    return Part("runtime", size, "device" if on_device else "host", "table", arithmetic)


def llama_compute(model: ModelFile, ubatch_tokens: int, outputs: int, mask_cells: int, on_device: bool) -> Part | None:
    """About the working memory of one micro-batch with flash attention; `None` where the model's widths are not known.

    `mask_cells` are the cells that a token's attention mask covers, summed over the masks (with and without a window),
    `outputs` the tokens of a micro-batch whose logits may be asked for. What a token needs at the same time is the
    largest of: a feed-forward part, the experts that it uses, the logits.
    """
    width, vocabulary = model.embedding_values, model.vocabulary_tokens
    states = any(layer.state_values > layer.history_values for layer in model.layers or ())
    if model.layers is None or not width or not vocabulary or states:
        return None
    inner, expert, used = model.feed_forward_values or 0, model.expert_values or 0, model.experts_used or 0
    choices = {
        ubatch_tokens * (3 * inner + 4 * width): f"{ubatch_tokens} tokens × (3 × {inner} + 4 × {width})",
        ubatch_tokens * (2 * used * (width + expert) + 2 * width): (
            f"{ubatch_tokens} tokens × ({used} experts × 2 × ({width} + {expert}) + 2 × {width})"
        ),
        outputs * vocabulary + ubatch_tokens * width: (
            f"{outputs} outputs × {vocabulary} logits + {ubatch_tokens} tokens × {width}"
        ),
    }
    values = max(choices)
    mask_bytes = 2 * ubatch_tokens * mask_cells
    arithmetic = f"about 4 B × ({choices[values]}) + masks of {ubatch_tokens} × {mask_cells} cells × 2 B"
    return Part("compute", 4 * values + mask_bytes, "device" if on_device else "host", "table", arithmetic)
