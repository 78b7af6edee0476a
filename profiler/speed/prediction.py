"""Predict decode and prefill rates of a model by depth of context. Pure; measures nothing (`harness.quant.depths`).

Decoding reads all active weights, the KV cache of all tokens so far and a recurrent state for each token, so

    seconds a token = overhead + (weights + state) / rate of the quant type + KV cache / rate of the cache.

With a calibrated rate (`profiler.speed.calibration`) that is a prediction; without one the memory's bandwidth stands in
for both rates, and the result is a bound that no engine exceeds. How far below it an engine stays is not guessed:
published shares go from a third (a mixture of experts) to 94 %. Prefill is bound by arithmetic, so nothing is said of
it without a calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from profiler.fit.cache_types import row_bytes
from profiler.model_file.base import Layer, ModelFile
from profiler.speed.base import SpeedPoint, SpeedPrediction
from profiler.speed.rates import EXTRAPOLATED_TIMES, TypeRate, main_type, rate_for

__all__ = ["kv_bytes_at", "predict_speed", "roofline_share", "state_bytes", "token_bytes"]

_STATE_VALUE_BYTES: Final = 4


def kv_bytes_at(layers: Sequence[Layer] | None, kv: str, depth_tokens: int) -> int | None:
    """Bytes of KV cache that a token at this depth reads; `None` for layers or a type that is not known."""
    if layers is None:
        return None
    read = 0
    for layer in layers:
        keys, values = row_bytes(layer.key_values, kv), row_bytes(layer.value_values, kv)
        if keys is None or values is None:
            return None
        seen = depth_tokens if layer.window_tokens is None else min(depth_tokens, layer.window_tokens)
        read += seen * (keys + values)
    return read


def state_bytes(layers: Sequence[Layer] | None) -> int:
    """Bytes of recurrent state that every token reads, whatever its depth; 0 where the layers are not known."""
    return _STATE_VALUE_BYTES * sum(layer.state_values for layer in layers or ())


def token_bytes(model: ModelFile, kv: str, depth_tokens: int) -> int | None:
    """All bytes that decoding one token at a depth reads; `None` where a part of them is not known."""
    cache = kv_bytes_at(model.layers, kv, depth_tokens) if depth_tokens else 0
    if model.active_bytes is None or cache is None:
        return None
    return model.active_bytes + state_bytes(model.layers) + cache


def roofline_share(
    model: ModelFile, kv: str, depth_tokens: int, decode_tokens_per_s: float, bandwidth_gb_per_s: float
) -> float | None:
    """The share of the memory's bandwidth that a measured decode rate reached: its bytes a second over the bandwidth.

    `None` where the bytes of a token are not known. Above 1 the weights were not read from that memory: they lay in the
    caches.
    """
    read = token_bytes(model, kv, depth_tokens)
    return None if read is None else decode_tokens_per_s * read / (bandwidth_gb_per_s * 1e9)


def predict_speed(
    model: ModelFile,
    depths_tokens: Sequence[int],
    *,
    kv: str = "f16",
    bandwidth_gb_per_s: float | None = None,
    rates: Sequence[TypeRate] = (),
    engine: str | None = None,
) -> SpeedPrediction:
    """Rates at each depth: calibrated where one of `rates` speaks for the model, else bounds from the bandwidth.

    `bandwidth_gb_per_s` is that of the memory that holds the weights; `engine` the one that will run it.
    """
    roofline = _bound(model, kv, 0, bandwidth_gb_per_s)
    rate = rate_for(model, rates, engine)
    if rate is not None:
        points = tuple(_calibrated(model, rate, kv, depth) for depth in depths_tokens)
        return SpeedPrediction(points, "calibrated", roofline, _calibrated_words(model, rate, kv, points))
    points = tuple(SpeedPoint(depth, _bound(model, kv, depth, bandwidth_gb_per_s), None) for depth in depths_tokens)
    return SpeedPrediction(points, "roofline", roofline, _roofline_words(model, kv, bandwidth_gb_per_s, points, rates))


def _bound(model: ModelFile, kv: str, depth_tokens: int, bandwidth_gb_per_s: float | None) -> float | None:
    read = token_bytes(model, kv, depth_tokens)
    if not read or bandwidth_gb_per_s is None:
        return None
    return bandwidth_gb_per_s * 1e9 / read


def _calibrated(model: ModelFile, rate: TypeRate, kv: str, depth_tokens: int) -> SpeedPoint:
    cache = kv_bytes_at(model.layers, kv, depth_tokens) if depth_tokens else 0
    assert model.active_bytes is not None, "a rate speaks for no model whose active bytes are not known"
    if cache is None:
        return SpeedPoint(depth_tokens, None, None)
    weights_s = (model.active_bytes + state_bytes(model.layers)) / (rate.weights_gb_per_s * 1e9)
    decode_s = rate.overhead_us / 1e6 + weights_s + cache / ((rate.kv_gb_per_s or rate.weights_gb_per_s) * 1e9)
    return SpeedPoint(depth_tokens, 1 / decode_s, _calibrated_prefill(model, rate, cache))


def _calibrated_prefill(model: ModelFile, rate: TypeRate, cache_bytes: int) -> float | None:
    if rate.prefill_gparameters_per_s is None or not model.active_parameters:
        return None
    if cache_bytes and rate.prefill_kv_gb_per_s is None:
        return None
    depth_s = cache_bytes / (rate.prefill_kv_gb_per_s * 1e9) if rate.prefill_kv_gb_per_s else 0.0
    return 1 / (model.active_parameters / (rate.prefill_gparameters_per_s * 1e9) + depth_s)


def _calibrated_words(model: ModelFile, rate: TypeRate, kv: str, points: Sequence[SpeedPoint]) -> str:
    weights = (model.active_bytes or 0) + state_bytes(model.layers)
    overhead = f"{rate.overhead_us:.0f} µs + " if rate.overhead_us else ""
    sentences = [
        _point_words(
            point,
            f"{overhead}{_bytes(weights)} of {_what_is_read(model)} at {rate.weights_gb_per_s:.3g} GB/s",
            kv_bytes_at(model.layers, kv, point.depth_tokens) if point.depth_tokens else 0,
            f" of KV cache ({kv}) at {rate.kv_gb_per_s or rate.weights_gb_per_s:.3g} GB/s",
        )
        for point in points
    ]
    by = " with ".join(part for part in (rate.engine, rate.settings) if part)
    said = ", ".join(part for part in (by, rate.measured_on and f"on {rate.measured_on}") if part)
    sentences.append(f"rates calibrated with {_type_words(rate)}" + (f" ({said})" if said else ""))
    if rate.kv_gb_per_s is None and any(point.depth_tokens for point in points):
        sentences.append("the cache's own rate was not seen, so that of the weights stands in")
    if rate.prefill_gparameters_per_s is not None and model.active_parameters:
        sentences.append(
            f"prefill: {model.active_parameters / 1e9:.3g}e9 active parameters at "
            f"{rate.prefill_gparameters_per_s:.3g}e9 a second"
        )
    return "; ".join(sentences)


def _roofline_words(
    model: ModelFile,
    kv: str,
    bandwidth_gb_per_s: float | None,
    points: Sequence[SpeedPoint],
    rates: Sequence[TypeRate],
) -> str:
    if model.active_bytes is None:
        return "the bytes that a token reads are not known for this model"
    if bandwidth_gb_per_s is None:
        return f"a token reads {_bytes(model.active_bytes)} of weights; the bandwidth of the memory is not known"
    weights = f"{_bytes(model.active_bytes + state_bytes(model.layers))} of {_what_is_read(model)}"
    sentences = [
        _point_words(
            point,
            weights,
            kv_bytes_at(model.layers, kv, point.depth_tokens) if point.depth_tokens else 0,
            f" of KV cache ({kv})",
            at=f", all at {bandwidth_gb_per_s:.3g} GB/s",
            most="at most ",
        )
        for point in points
    ]
    return "; ".join([*sentences, f"a bound, not a prediction: {_no_rate_words(model, rates)}"])


def _no_rate_words(model: ModelFile, rates: Sequence[TypeRate]) -> str:
    kind, experts = main_type(model), bool(model.experts)
    same = [rate for rate in rates if rate.type == kind and rate.experts == experts]
    if same:
        most = max(rate.most_active_bytes for rate in same)
        return (
            f"{kind} was calibrated here only with models of up to {_bytes(most)}, and a rate is not carried further "
            f"than {EXTRAPOLATED_TIMES:.0f} times"
        )
    return f"{kind}{' in a mixture of experts' if experts else ''} was not calibrated here"


def _point_words(
    point: SpeedPoint, weights: str, cache_bytes: int | None, of_cache: str, *, at: str = "", most: str = ""
) -> str:
    if point.decode_tokens_per_s is None or cache_bytes is None:
        return f"decode at {point.depth_tokens} tokens: not known, as the KV cache of this model is not"
    cache = f" + {_bytes(cache_bytes)}{of_cache}" if cache_bytes else ""
    return f"decode at {point.depth_tokens} tokens: {weights}{cache}{at} = {most}{point.decode_tokens_per_s:.3g} tok/s"


def _what_is_read(model: ModelFile) -> str:
    experts = f" ({model.experts_used} of {model.experts} experts)" if model.experts else ""
    state = " and state" if state_bytes(model.layers) else ""
    return f"active weights{experts}{state}"


def _type_words(rate: TypeRate) -> str:
    least, most = _bytes(rate.least_active_bytes), _bytes(rate.most_active_bytes)
    sizes = least if least == most else f"{least} to {most}"
    return f"{rate.type}{', mixture of experts,' if rate.experts else ''} of {sizes}"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"
