"""The parts of mlx and mlx-lm that the workers use, by name. As `Any`: they have no types that could be checked here,
and types are checked on machines without mlx.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

mx: Any = import_module("mlx.core")
_cache: Any = import_module("mlx_lm.models.cache")
_models: Any = import_module("mlx_lm.utils")

can_trim_prompt_cache: Any = _cache.can_trim_prompt_cache
make_prompt_cache: Any = _cache.make_prompt_cache
trim_prompt_cache: Any = _cache.trim_prompt_cache
load_config: Any = _models.load_config
load_model: Any = _models.load_model
load_tokenizer: Any = _models.load_tokenizer
maybe_set_recommended_wired_limit: Any = _models.maybe_set_recommended_wired_limit
_generate: Any = import_module("mlx_lm.generate")
generate_step: Any = _generate.generate_step
maybe_quantize_kv_cache: Any = _generate.maybe_quantize_kv_cache
make_sampler: Any = import_module("mlx_lm.sample_utils").make_sampler

BUILD = f"mlx-lm {import_module('mlx_lm').__version__}, mlx {mx.__version__}"
