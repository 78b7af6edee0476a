"""What a model file says of the model, as values: size, quant types, layers. Reads nothing (see the readers beside it).

Figures are taken from the tensors, never from a label: `Q4_K_M` is a mix, and labels lie (`general.file_type`,
`quantization.bits`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

Container = Literal["gguf", "mlx"]
LayerKind = Literal["attention", "sliding_window", "mla", "recurrent", "none"]


class NotToldError(Exception):
    """The layers of a model cannot be told from its header or config; the text says why. Becomes a note of the file."""


class Layer(msgspec.Struct, frozen=True):
    """What one layer keeps for each token or each sequence; a layer of kind `none` keeps nothing.

    `key_values` and `value_values` are the numbers kept for each token (heads × dimension; 0 for `recurrent`; an `mla`
    layer keeps no values of its own), `state_values` those kept for each sequence (f32). `window_tokens` is the window
    of a `sliding_window` layer. A layer may keep both (falcon-h1: attention beside a state).
    """

    kind: LayerKind
    key_values: int = 0
    value_values: int = 0
    state_values: int = 0
    window_tokens: int | None = None
    history_values: int = 0
    """Of `state_values` those that are a history of inputs (convolutions), which MLX keeps in the model's own type."""


class TypeShare(msgspec.Struct, frozen=True):
    """How much of the model is stored in one type (`Q4_K`, `F16`, MLX: `affine 4-bit g64`)."""

    type: str
    tensors: int
    parameters: int
    bytes: int


class ModelFile(msgspec.Struct, frozen=True):
    """A model on disk: one GGUF file, all parts of a split one, or an MLX folder. Bytes are of tensors, without header.

    `active_bytes` are read for each decoded token: all layers and the output matrix, of experts those that are used,
    and of the token embedding one row unless it is the output matrix too; `active_parameters` likewise. `None` is what
    could not be told. `label` is what the file calls its quant, `types` what it is, the largest share first. `layers`
    is `None` for an architecture whose layers are not known here; the memory plan of an engine is then the only one.
    """

    path: Path
    files: tuple[Path, ...]
    container: Container
    architecture: str | None
    name: str | None
    label: str | None
    types: tuple[TypeShare, ...]
    tensor_bytes: int
    parameters: int
    active_bytes: int | None
    active_parameters: int | None
    layers: tuple[Layer, ...] | None
    context_tokens: int | None
    vocabulary_tokens: int | None
    embedding_values: int | None
    experts: int | None = None
    experts_used: int | None = None
    has_template: bool = False
    layer_bytes: tuple[int, ...] | None = None
    """Weights of each layer, where the names of the tensors tell."""
    embedding_bytes: int | None = None
    """Tables of which one row is read for each token: engines leave them in the memory of the host."""
    feed_forward_values: int | None = None
    """Inner width of the feed-forward part of the widest layer without experts."""
    expert_values: int | None = None
    """Inner width of one expert of the widest layer."""
    output_bytes: int | None = None
    """The matrix that makes the logits: one of its own, or the token embedding."""
    tied: bool | None = None
    """Whether the token embedding is the output matrix too."""
    notes: tuple[str, ...] = ()
    """What is doubtful of it, in words: a label that the tensors contradict, types that are not known."""

    @property
    def bits_per_weight(self) -> float:
        """Bits of all tensors over all parameters."""
        return self.tensor_bytes * 8 / self.parameters
