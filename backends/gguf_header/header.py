"""The header of a GGUF file as values: what it says, and what llama.cpp makes of it. Opens no file."""

from __future__ import annotations

import math

import msgspec

from backends.base import CacheKind

# Values a block and bytes a block, by ggml type id (ggml.h, `ggml_type`; ggml-common.h, the block structs).
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40), 10:
    (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35:
    (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip

# Names of the ggml types (ggml.c, `type_traits`), in capitals as quants are called.
_TYPE_NAMES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12:
    "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL",
    21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30:
    "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0",
}  # fmt: skip

# `general.file_type` (llama.h, `llama_ftype`): a label only, mixes and overrides hide behind it.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12:
    "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27:
    "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38:
    "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip

# llama-arch.cpp (0c1e57098): `llm_arch_is_recurrent` and `llm_arch_is_hybrid`.
_RECURRENT = frozenset({
    "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7", "jamba", "falcon-h1", "plamo2",
    "granitehybrid", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe", "qwen3next", "kimi-linear",
    "bailingmoe3", "kimi-k3", "glm5-next", "qwen35", "qwen35moe", "qwen4exp", "deepseek4", "minimax-01",
})  # fmt: skip
# Windows that llama.cpp takes where the file names none (src/models/*.cpp), and the one it ignores (phi3).
_WINDOW_WITHOUT_KEY = {"gemma2": 4096, "llama4": 8192, "exaone-moe": 128}
_WINDOW_IGNORED = frozenset({"phi3"})


class LongArray(msgspec.Struct, frozen=True):
    """An array that was skipped: its item type (a GGUF type id) and length."""

    item_type_id: int
    length: int


Scalar = bool | int | float | str
Value = Scalar | tuple[Scalar, ...] | LongArray


class Tensor(msgspec.Struct, frozen=True):
    """One row of the tensor table. `offset_bytes` counts from the start of the data section."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset_bytes: int

    @property
    def elements(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def type_name(self) -> str | None:
        """Name of its type (`Q4_K`); `None` for a ggml type that is not known here."""
        return _TYPE_NAMES.get(self.type_id)

    @property
    def size_bytes(self) -> int | None:
        """Bytes in the file; `None` for a ggml type that is not known here."""
        block = _BLOCKS.get(self.type_id)
        if block is None:
            return None
        return -(-self.elements // block[0]) * block[1]


class GgufHeader(msgspec.Struct, frozen=True):
    """The header of one GGUF file. Of a split model, each part has a header and a tensor table of its own."""

    version: int
    file_bytes: int
    data_start_bytes: int
    values: dict[str, Value]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str | None:
        """llama.cpp's name of the architecture (`qwen3`, `gemma3`, …)."""
        return self._text("general.architecture")

    @property
    def name(self) -> str | None:
        """The model's own name."""
        return self._text("general.name")

    @property
    def context_length(self) -> int | None:
        """Tokens of context that the model was made for."""
        return self._count("context_length")

    @property
    def block_count(self) -> int | None:
        """Number of layers."""
        return self._count("block_count")

    @property
    def sliding_window(self) -> int | None:
        """Attention window in tokens as llama.cpp applies it; `None` where every layer sees everything."""
        architecture = self.architecture or ""
        if architecture in _WINDOW_IGNORED:
            return None
        window = self._count("attention.sliding_window")
        if window is None:
            return _WINDOW_WITHOUT_KEY.get(architecture)
        return window if window > 0 else None

    @property
    def chat_template(self) -> str | None:
        """The embedded chat template (jinja)."""
        return self._text("tokenizer.chat_template")

    @property
    def file_type(self) -> str | None:
        """Label of the quant mix (`Q4_K_M`); not what each tensor is stored in."""
        number = self.values.get("general.file_type")
        return _FILE_TYPES.get(number) if isinstance(number, int) else None

    @property
    def cache_kind(self) -> CacheKind:
        """How this model's cache can be cut back, unless the engine keeps whole windows (`swa_full`)."""
        if self.architecture in _RECURRENT:
            return "recurrent"
        return "full" if self.sliding_window is None else "sliding_window"

    def _text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def _count(self, suffix: str) -> int | None:
        value = self.values.get(f"{self.architecture}.{suffix}")
        return value if isinstance(value, int) and not isinstance(value, bool) else None
