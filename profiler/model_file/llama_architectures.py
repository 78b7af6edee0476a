"""What llama.cpp knows of each architecture that the file does not say: which layers have a window, a state, no cache.

Tables only, from its sources at llama-cpp-python 0.3.36: `src/models/*.cpp` (`load_arch_hparams`), `src/llama-arch.cpp`
and `llama_model::create_memory`. An architecture that is in no table is not known, and nothing is said of its layers:
those with caches of kinds that are not modelled here are left out on purpose (sparse attention with an indexer, as in
deepseek4, glm-dsa, minimax-m3; drafts; speech; encoders with decoders).
"""

from __future__ import annotations

from typing import Final

import msgspec


class Sliding(msgspec.Struct, frozen=True):
    """Layers with a window: all but the last of each `period` (`dense_first`: the first); the file's pattern wins.

    `period` is `None` where the file must give the pattern. `window_tokens` is taken where the file names none, and
    with `fixed` also where it does; without either the model has no windows (`optional`) or is not valid.
    """

    period: int | None
    window_tokens: int | None = None
    optional: bool = False
    fixed: bool = False
    dense_first: bool = False


SLIDING: Final = {
    "afmoe": Sliding(4, optional=True),
    "cohere2": Sliding(4),
    "cohere2moe": Sliding(4, dense_first=True),
    "exaone-moe": Sliding(4, window_tokens=128),
    "gemma2": Sliding(2, window_tokens=4096),
    "gemma3": Sliding(6, optional=True),
    "gemma3n": Sliding(5),
    "gemma4": Sliding(None),
    "gpt-oss": Sliding(2),
    "granite_swa": Sliding(None),
    "laguna": Sliding(4, optional=True, dense_first=True),
    "llama4": Sliding(4, window_tokens=8192, fixed=True),
    "maple": Sliding(None),
    "mellum": Sliding(4, optional=True),
    "mimo2": Sliding(None),
    "muse-glimmer": Sliding(4),
    "olmo2": Sliding(4, optional=True),
    "plamo3": Sliding(8, optional=True),
    "smallthinker": Sliding(4, window_tokens=4096, optional=True, fixed=True, dense_first=True),
    "spark2_5": Sliding(None),
    "step35": Sliding(None),
}
EXAONE4_SLIDING: Final = Sliding(4, window_tokens=4096)
"""exaone4 has windows only with 64 layers; lfm2 in every attention layer, if the file names a window."""

RECURRENT: Final = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
WITHOUT_HEADS: Final = frozenset({
    "jamba", "granitehybrid", "plamo2", "lfm2", "lfm2moe", "kimi-linear", "bailingmoe3",
})  # fmt: skip
"""Hybrids whose layers are recurrent where they have no KV heads."""
INTERVAL: Final = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "minimax-01": 8}
"""Hybrids with attention in each n-th layer, unless the file says another number or names the layers."""
WITH_FEED_FORWARD_LAYERS: Final = frozenset({"nemotron_h", "nemotron_h_moe"})
"""Hybrids some layers of which have neither attention nor a state, only a feed-forward part."""
BOTH: Final = frozenset({"falcon-h1"})
"""Hybrids with attention and a state in every layer."""

MLA: Final = frozenset({"deepseek2", "mistral4", "deepseek32", "bailingmoe3", "kimi-linear"})
"""May keep one compressed row a token, if the file has the lengths of that form."""
INDEXER: Final = frozenset({"deepseek32"})
"""Keep one more row a token and layer, of the indexer that picks tokens."""
KV_LAYERS_FROM_START: Final = {"gemma3n": 20}

NO_CACHE: Final = frozenset({
    "bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert", "eurobert", "modern-bert",
    "gemma-embedding", "dream", "llada", "llada-moe", "rnd1",
})  # fmt: skip

FULL: Final = frozenset({
    "llama", "deci", "falcon", "grok", "gpt2", "gptj", "gptneox", "mpt", "baichuan", "starcoder", "refact", "bloom",
    "stablelm", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "phi2", "phi3",
    "phimoe", "plamo", "codeshell", "orion", "internlm2", "minicpm", "minicpm3", "gemma", "starcoder2", "xverse",
    "command-r", "dbrx", "olmo", "olmoe", "openelm", "arctic", "deepseek", "deepseek2-ocr", "chatglm", "glm4",
    "glm4moe", "bitnet", "jais", "jais2", "nemotron", "exaone", "granite", "granitemoe", "chameleon", "plm",
    "bailingmoe", "bailingmoe2", "dots1", "arcee", "ernie4_5", "ernie4_5-moe", "hunyuan-moe", "hunyuan-dense",
    "hunyuan_vl", "hy_v3", "smollm3", "seed_oss", "grovemoe", "apertus", "minimax-m2", "cogvlm", "pangu-embedded",
    "mistral3", "paddleocr", "llama-embed", "maincoder", "hrm_text",
})  # fmt: skip

KNOWN: Final = (
    FULL | NO_CACHE | MLA | RECURRENT | WITHOUT_HEADS | WITH_FEED_FORWARD_LAYERS | BOTH | SLIDING.keys()
    | INTERVAL.keys() | {"exaone4"}
)  # fmt: skip
