from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.fit.cache_types import CACHE_TYPES
from profiler.model_file.base import Layer, TypeShare
from profiler.speed.prediction import kv_bytes_at, predict_speed, roofline_share, token_bytes
from profiler.speed.rates import TypeRate, main_type, rate_for
from tests.profiler.speed.models import model

RATE = TypeRate("Q4_K", 40.0, 4_000_000_000, 4_000_000_000, kv_gb_per_s=20.0, prefill_gparameters_per_s=700.0)


def test_the_cache_at_a_depth_counts_windows_and_blocks() -> None:
    layers = (Layer("attention", 512, 512), Layer("sliding_window", 512, 512, window_tokens=1024), Layer("none"))
    assert kv_bytes_at(layers, "f16", 1000) == 2 * 1000 * 1024 * 2
    assert kv_bytes_at(layers, "f16", 5000) == (5000 + 1024) * 1024 * 2
    assert kv_bytes_at(layers, "q8_0", 5000) == (5000 + 1024) * 1024 * 34 // 32
    assert kv_bytes_at((Layer("mla", 576, 0),), "f16", 100) == 100 * 576 * 2
    assert kv_bytes_at(None, "f16", 100) is None
    assert kv_bytes_at(layers, "turbo3", 100) is None


def test_a_recurrent_state_is_read_at_every_depth() -> None:
    recurrent = model(layers=(Layer("recurrent", state_values=250_000),))
    assert token_bytes(recurrent, "f16", 0) == token_bytes(recurrent, "f16", 9000) == 4_001_000_000


def test_without_a_calibration_the_bandwidth_is_a_bound() -> None:
    found = predict_speed(model(), (0, 32768), bandwidth_gb_per_s=400.0)
    cache = 32768 * 32 * 2048 * 2
    assert found.basis == "roofline"
    assert [point.decode_tokens_per_s for point in found.points] == [100.0, 400e9 / (4e9 + cache)]
    assert [point.prefill_tokens_per_s for point in found.points] == [None, None]
    assert found.roofline_decode_tokens_per_s == 100.0
    assert "a bound, not a prediction: Q4_K was not calibrated here" in found.arithmetic
    assert (
        "4 GB of active weights + 4.29 GB of KV cache (f16), all at 400 GB/s = at most 48.2 tok/s" in found.arithmetic
    )


def test_a_calibrated_rate_is_a_prediction_with_the_roofline_beside_it() -> None:
    found = predict_speed(model(), (0, 32768), bandwidth_gb_per_s=400.0, rates=(RATE,))
    cache = 32768 * 32 * 2048 * 2
    assert found.basis == "calibrated"
    assert found.roofline_decode_tokens_per_s == 100.0
    assert found.points[0].decode_tokens_per_s == pytest.approx(10.0)
    assert found.points[1].decode_tokens_per_s == pytest.approx(1 / (0.1 + cache / 20e9))
    assert found.points[0].prefill_tokens_per_s == pytest.approx(100.0)
    assert found.points[1].prefill_tokens_per_s is None, "what depth costs prefill was not measured"
    assert "calibrated with Q4_K of 4 GB" in found.arithmetic


def test_what_is_not_known_is_said_and_not_guessed() -> None:
    unknown = predict_speed(model(layers=None), (0, 4096), bandwidth_gb_per_s=100.0)
    assert unknown.points[0].decode_tokens_per_s == 25.0
    assert unknown.points[1].decode_tokens_per_s is None
    assert "decode at 4096 tokens: not known" in unknown.arithmetic
    assert predict_speed(model(), (0,)).points[0].decode_tokens_per_s is None
    assert "bandwidth of the memory is not known" in predict_speed(model(), (0,)).arithmetic
    assert (
        "not known for this model" in predict_speed(model(active_bytes=None), (0,), bandwidth_gb_per_s=1.0).arithmetic
    )


def test_a_rate_speaks_only_for_its_type_kind_and_size() -> None:
    assert rate_for(model(), (RATE,)) is RATE
    assert rate_for(model(type="Q6_K"), (RATE,)) is None
    assert rate_for(model(experts=64), (RATE,)) is None, "a mixture of experts reaches less of the bandwidth"
    assert rate_for(model(active_bytes=33_000_000_000), (RATE,)) is None
    far = predict_speed(model(active_bytes=33_000_000_000), (0,), bandwidth_gb_per_s=100.0, rates=(RATE,))
    assert far.basis == "roofline"
    assert "only with models of up to 4 GB" in far.arithmetic


def test_of_several_rates_the_engines_own_counts_then_the_nearest_size() -> None:
    near = TypeRate("Q4_K", 50.0, 3_000_000_000, 5_000_000_000, engine="a")
    far = TypeRate("Q4_K", 30.0, 1_000_000_000, 1_000_000_000, engine="b")
    assert rate_for(model(), (far, near)) is near
    assert rate_for(model(), (far, near), "b") is far


def test_the_main_type_has_most_bytes_not_most_tensors() -> None:
    mixed = (TypeShare("F32", 500, 10, 40), TypeShare("Q4_K", 100, 1000, 560), TypeShare("Q6_K", 20, 500, 410))
    assert main_type(model(types=mixed)) == "Q4_K"
    assert main_type(model(types=())) is None
    assert [main_type(model(type=label)) for label in ("Q4_K_M", "Q3_K_L", "IQ3_S", "Q4_K")] == [
        "Q4_K",
        "Q3_K",
        "IQ3_S",
        "Q4_K",
    ]


def test_the_share_of_the_roofline_is_what_was_read_over_the_bandwidth() -> None:
    assert roofline_share(model(), "f16", 0, 50.0, 400.0) == pytest.approx(0.5)
    assert roofline_share(model(layers=None), "f16", 100, 50.0, 400.0) is None


@given(
    st.integers(1, 10**11),
    st.lists(st.integers(0, 200_000), min_size=2, max_size=5).map(sorted),
    st.sampled_from(CACHE_TYPES),
    st.floats(1, 5000),
)
def test_no_token_is_faster_at_a_greater_depth(active: int, depths: list[int], kv: str, bandwidth: float) -> None:
    for rates in ((), (TypeRate("Q4_K", bandwidth / 2, active, active, prefill_gparameters_per_s=9.0),)):
        found = predict_speed(model(active_bytes=active), depths, kv=kv, bandwidth_gb_per_s=bandwidth, rates=rates)
        decoded = [point.decode_tokens_per_s for point in found.points]
        assert all(one is not None for one in decoded)
        assert decoded == sorted(decoded, key=lambda one: -(one or 0))
