"""What a llama-server would load with, so that llama-cpp-python can plan it: the server's own defaults filled in.

llama-server lowers a context that was not asked for to what the machine has; the plan is of the model's own, which it
starts from. Rows of logits are one for each slot (`tools/server/server-context.cpp`, `server_output_limits`).
Weights are repacked as llama-cpp-python's own build would: a server built without AVX-512 (the portable wheel) leaves
Q2_K as it is.
"""

from __future__ import annotations

from typing import Final

from backends.base import Target, TargetError
from backends.gguf_header import GgufHeader
from backends.options import convert_options
from backends.workers.llama_planner import LlamaPlanner
from backends.workers.planning_messages import PlanSettings
from backends.workers.server_process import Options

__all__ = ["open_planner"]

_ENGINE: Final = "llama-server"
# common/common.h, `common_params`; 4 slots on one cache are what the program's automatic mode makes.
_BATCH, _UBATCH, _AUTOMATIC_SLOTS = 2048, 512, 4


def open_planner() -> LlamaPlanner:
    """A planner of this engine's loads, by llama-cpp-python; raises `MissingExtra` without it."""
    return LlamaPlanner(_ENGINE, _settings)


def _settings(target: Target, header: GgufHeader) -> PlanSettings:
    options = convert_options(target.options, Options, _ENGINE)
    kv, flash_attn = options.kv or "f16", options.flash_attn or "auto"
    if flash_attn == "off" and kv not in ("f32", "f16", "bf16"):
        raise TargetError(f"kv={kv} needs flash attention", hint="drop flash_attn=off or use kv=f16")
    slots = options.slots or _AUTOMATIC_SLOTS
    unified = options.kv_unified if options.kv_unified is not None else options.slots is None
    streams = 1 if unified else slots
    batch = options.batch or _BATCH
    return PlanSettings(
        context_tokens=options.ctx or (header.context_length or 0) * streams,
        sequences=slots,
        kv=kv,
        batch=batch,
        ubatch=min(batch, options.ubatch or _UBATCH),
        flash_attn=flash_attn,
        swa_full=options.swa_full or False,
        kv_unified=unified,
        gpu_layers=-1 if options.gpu_layers is None else options.gpu_layers,
        most_outputs=min(batch, slots),
    )
