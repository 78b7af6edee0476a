"""Fit the rates of a machine to rates that were measured on it: one `TypeRate` for each quant type. Pure.

A decoded token takes t = overhead + weights / a + KV cache / b; a prefilled one t = parameters / c + KV cache / d.
Least squares of the relative errors, with no term below 0. A term that the measurements cannot tell is left out: the
overhead needs models of two sizes, the cache's rate two depths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from scipy.optimize import nnls

from profiler.model_file.base import ModelFile
from profiler.speed.base import SpeedPoint
from profiler.speed.prediction import kv_bytes_at, state_bytes
from profiler.speed.rates import TypeRate, main_type

__all__ = ["Observation", "fit_rates", "observe"]

SIZES_APART: Final = 2.0
"""Two models tell the overhead if one has so many times the bytes of the other."""


class Observation(msgspec.Struct, frozen=True):
    """A model's measured rates at one depth, with what a token of it reads and computes there."""

    type: str
    experts: bool
    active_bytes: int
    read_bytes: int
    """Active weights and state."""
    kv_bytes: int
    active_parameters: int | None
    decode_tokens_per_s: float | None
    prefill_tokens_per_s: float | None


def observe(model: ModelFile, kv: str, points: Iterable[SpeedPoint]) -> tuple[Observation, ...]:
    """The observations of measured points; none of a model whose active bytes or types are not known.

    Points at a depth where the KV cache is not known are left out.
    """
    kind = main_type(model)
    if kind is None or not model.active_bytes:
        return ()
    caches = [
        (point, kv_bytes_at(model.layers, kv, point.depth_tokens) if point.depth_tokens else 0) for point in points
    ]
    return tuple(
        Observation(
            type=kind,
            experts=bool(model.experts),
            active_bytes=model.active_bytes,
            read_bytes=model.active_bytes + state_bytes(model.layers),
            kv_bytes=cache,
            active_parameters=model.active_parameters,
            decode_tokens_per_s=point.decode_tokens_per_s,
            prefill_tokens_per_s=point.prefill_tokens_per_s,
        )
        for point, cache in caches
        if cache is not None
    )


def fit_rates(
    observations: Iterable[Observation],
    *,
    engine: str | None = None,
    settings: str | None = None,
    measured_on: str | None = None,
) -> tuple[TypeRate, ...]:
    """A rate for each type that was decoded, by name; a type whose time does not grow with its bytes is left out."""
    groups: dict[tuple[str, bool], list[Observation]] = {}
    for one in observations:
        groups.setdefault((one.type, one.experts), []).append(one)
    fitted = (_fit(kind, experts, group) for (kind, experts), group in sorted(groups.items()))
    return tuple(
        msgspec.structs.replace(rate, engine=engine, settings=settings, measured_on=measured_on)
        for rate in fitted
        if rate is not None
    )


def _fit(kind: str, experts: bool, group: Sequence[Observation]) -> TypeRate | None:
    decoded = [(one, one.decode_tokens_per_s) for one in group if one.decode_tokens_per_s]
    if not decoded:
        return None
    sizes = [one.active_bytes for one, _ in decoded]
    several = max(sizes) >= SIZES_APART * min(sizes)
    overhead_s, per_byte_s, per_kv_byte_s = _terms(
        [1 / rate for _, rate in decoded],
        [1.0 if several else 0.0 for _ in decoded],
        [float(one.read_bytes) for one, _ in decoded],
        [float(one.kv_bytes) for one, _ in decoded],
    )
    if not per_byte_s:
        return None
    per_parameter_s, per_prefill_kv_byte_s = _prefill_terms(group)
    return TypeRate(
        type=kind,
        weights_gb_per_s=1e-9 / per_byte_s,
        least_active_bytes=min(sizes),
        most_active_bytes=max(sizes),
        experts=experts,
        overhead_us=overhead_s * 1e6,
        kv_gb_per_s=1e-9 / per_kv_byte_s if per_kv_byte_s else None,
        prefill_gparameters_per_s=1e-9 / per_parameter_s if per_parameter_s else None,
        prefill_kv_gb_per_s=1e-9 / per_prefill_kv_byte_s if per_prefill_kv_byte_s else None,
    )


def _prefill_terms(group: Sequence[Observation]) -> tuple[float, float]:
    known = [
        (1 / one.prefill_tokens_per_s, float(one.active_parameters), float(one.kv_bytes))
        for one in group
        if one.prefill_tokens_per_s and one.active_parameters
    ]
    if not known:
        return 0.0, 0.0
    times, parameters, caches = (list(column) for column in zip(*known, strict=True))
    per_parameter_s, per_kv_byte_s = _terms(times, parameters, caches)
    return per_parameter_s, per_kv_byte_s


def _terms(times_s: Sequence[float], *columns: Sequence[float]) -> tuple[float, ...]:
    """What one of each column costs, s, none below 0, by least squares of relative errors; 0 for a column of zeros."""
    scales = [max(column) or 1.0 for column in columns]
    weighted = np.array(
        [
            [value / scale / time_s for value, scale in zip(row, scales, strict=True)]
            for time_s, row in zip(times_s, zip(*columns, strict=True), strict=True)
        ]
    )
    found, _ = nnls(weighted, np.ones(len(times_s)))
    return tuple(float(value) / scale for value, scale in zip(found, scales, strict=True))
