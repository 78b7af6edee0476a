"""With which settings a model is loaded, as far as its memory depends on them. Values only."""

from __future__ import annotations

import msgspec


class LlamaSettings(msgspec.Struct, frozen=True):
    """A context of llama.cpp. `context_tokens` is the whole context, of all slots together (`n_ctx`); 0 is the model's.

    `unified` shares one cache among the slots (`kv_unified`). `key_type` and `value_type` are ggml's names.
    `gpu_layers` counts as `n_gpu_layers`: the output first, then the layers from the last; 0 is no device.
    `memory_mapped` weights are pages of the file. `checkpoints` are the most that llama-server keeps for each slot.
    """

    context_tokens: int
    slots: int = 1
    unified: bool = False
    key_type: str = "f16"
    value_type: str = "f16"
    batch_tokens: int = 2048
    ubatch_tokens: int = 512
    most_outputs: int | None = None
    """Tokens of a batch whose logits may be asked for (`n_outputs_max`): one a slot in llama-server; `None` is all."""
    whole_windows: bool = False
    """`swa_full`: layers with a window keep the whole context too."""
    flash_attention: bool = True
    gpu_layers: int = 0
    cache_on_device: bool = True
    """`offload_kqv`: the cache of a layer lies where the layer does."""
    memory_mapped: bool = True
    checkpoints: int = 0


class MlxSettings(msgspec.Struct, frozen=True):
    """A model in mlx-lm. `context_tokens` are those that a sequence has reached, `sequences` those kept at a time.

    `kv_bits` quantises the cache (`kv_group_size` numbers share a scale); `None` keeps the model's own type.
    """

    context_tokens: int
    sequences: int = 1
    kv_bits: int | None = None
    kv_group_size: int = 64
    prefill_tokens: int = 2048
    """Tokens of a prompt that are evaluated at a time (`prefill_step_size`)."""
    most_tokens: int | None = None
    """`max_kv_size`: a plain cache becomes a window of so many tokens, of which the first four stay."""
    unified: bool = True
    """Whether the device's memory is the host's, as on a Mac and on a CPU."""
