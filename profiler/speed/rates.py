"""How fast a machine was measured to run models of one quant type, as values, and which of them speak for a model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from profiler.model_file.base import ModelFile

__all__ = ["EXTRAPOLATED_TIMES", "TypeRate", "main_type", "rate_for"]

_MIX: Final = re.compile(r"_K_(S|M|L|XL)$")
EXTRAPOLATED_TIMES: Final = 8.0
"""A rate speaks for models up to so many times larger or smaller than those it was measured with: a model of a few MB
lies in the caches and spends its time between the operations, so it says nothing of one of several GB."""


class TypeRate(msgspec.Struct, frozen=True):
    """Rates of one machine with models of one quant type. GB/s are 1e9 bytes a second; `None` was not seen.

    A decoded token takes `overhead_us`, and reads its active weights (and a recurrent state) at `weights_gb_per_s` and
    its KV cache at `kv_gb_per_s`. A prefilled token takes its active parameters over `prefill_gparameters_per_s`
    (1e9 parameters a second) and its KV cache over `prefill_kv_gb_per_s`: the depth of context costs time there too.

    `type` is the one that most bytes of the model have; `experts` whether it was a mixture of experts, whose tokens
    reach less of the bandwidth. `least_active_bytes` and `most_active_bytes` are the sizes it was measured with.
    """

    type: str
    weights_gb_per_s: float
    least_active_bytes: int
    most_active_bytes: int
    experts: bool = False
    overhead_us: float = 0.0
    kv_gb_per_s: float | None = None
    prefill_gparameters_per_s: float | None = None
    prefill_kv_gb_per_s: float | None = None
    engine: str | None = None
    settings: str | None = None
    """What else decides it, in words: threads, layers on the GPU, build."""
    measured_on: str | None = None


def main_type(model: ModelFile) -> str | None:
    """The quant type that most bytes of the model have: what decides how fast it is read.

    A model that is not made yet has the label of its mix instead (`Q4_K_M`), which is named like its main type.
    """
    if not model.types:
        return None
    return _MIX.sub("_K", max(model.types, key=lambda share: share.bytes).type)


def rate_for(model: ModelFile, rates: Sequence[TypeRate], engine: str | None = None) -> TypeRate | None:
    """The rate that speaks for a model: of its type and kind, of a size not far from its own; `None` without one.

    Those of `engine` come first, then those of the nearest size.
    """
    active = model.active_bytes
    if not active:
        return None
    fitting = [
        rate
        for rate in rates
        if rate.type == main_type(model)
        and rate.experts == bool(model.experts)
        and rate.least_active_bytes / EXTRAPOLATED_TIMES <= active <= rate.most_active_bytes * EXTRAPOLATED_TIMES
    ]
    return min(fitting, key=lambda rate: (rate.engine != engine, _distance(active, rate)), default=None)


def _distance(active_bytes: int, rate: TypeRate) -> float:
    """How many times larger or smaller the model is than what was measured, as a logarithm; 0 within."""
    return max(0.0, math.log(rate.least_active_bytes / active_bytes), math.log(active_bytes / rate.most_active_bytes))
