"""What llama-server may grow by in use, and no estimator counts: prompts kept in the host's memory, checkpoints. Pure.

Limits and defaults are those of `common/common.h`. What a checkpoint holds is in `llama_kv_cache_iswa::state_write` and
`llama_memory_recurrent::state_write`: what layers with a window still see, or recurrent states, of one sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from profiler.fit.amounts import amount
from profiler.fit.base import Part
from profiler.fit.engine_plan import EnginePlan, PlannedCache

__all__ = ["checkpoint_bytes", "server_growth"]

_MIB: Final = 1 << 20
_CACHE_RAM_MIB: Final = 8192
_CHECKPOINTS: Final = 32


def server_growth(options: Mapping[str, str], plan: EnginePlan | None) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """What llama-server may grow by with these options (as in `Target.options`), and what has no limit, in words."""
    parts: list[Part] = []
    unlimited: list[str] = []
    cache_mib = int(_option(options, "cache_ram") or _CACHE_RAM_MIB)
    if cache_mib < 0:
        unlimited.append("the prompt cache of llama-server, which has no limit (cache_ram=-1)")
    elif cache_mib:
        size_bytes = cache_mib * _MIB
        words = f"prompts that no slot holds, up to {amount(size_bytes)} (cache_ram={cache_mib})"
        parts.append(Part("prompt_cache", size_bytes, "host", "table", words, at_most=True))
    most = int(_option(options, "ctx_checkpoints") or _CHECKPOINTS)
    each_bytes = 0 if plan is None else checkpoint_bytes(plan)
    if plan is not None and most > 0 and each_bytes:
        words = f"up to {most} of {amount(each_bytes)} for each of {plan.sequences} slots (ctx_checkpoints={most})"
        size_bytes = most * each_bytes * plan.sequences
        parts.append(Part("checkpoints", size_bytes, "host", "engine plan", words, at_most=True))
    return tuple(parts), tuple(unlimited)


def checkpoint_bytes(plan: EnginePlan) -> int:
    """The most that one checkpoint of one slot takes; 0 where the cache can be cut back anywhere."""
    windows = sum(_window_bytes(cache, plan) for cache in plan.caches if cache.windowed)
    return windows + plan.state_bytes // plan.sequences


def _window_bytes(cache: PlannedCache, plan: EnginePlan) -> int:
    """The cells of one sequence that its window still sees: others are not written."""
    cells = min(cache.cells, plan.window_tokens)
    return cache.bytes * cells // (cache.cells * cache.streams)


def _option(options: Mapping[str, str], name: str) -> str | None:
    return options.get(name) or options.get(name.replace("_", "-"))
