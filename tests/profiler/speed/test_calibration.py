from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.model_file.base import ModelFile
from profiler.speed.base import SpeedPoint
from profiler.speed.calibration import fit_rates, observe
from profiler.speed.prediction import predict_speed
from profiler.speed.rates import TypeRate
from tests.profiler.speed.models import model

TRUE = TypeRate(
    "Q4_K",
    weights_gb_per_s=35.0,
    least_active_bytes=1_000_000_000,
    most_active_bytes=4_000_000_000,
    overhead_us=900.0,
    kv_gb_per_s=12.0,
    prefill_gparameters_per_s=500.0,
    prefill_kv_gb_per_s=2000.0,
)
LARGE = model()
SMALL = model(active_bytes=1_000_000_000, active_parameters=1_700_000_000)


def measured(rate: TypeRate, *depths: int, of: ModelFile = LARGE) -> tuple[SpeedPoint, ...]:
    """The rates that a machine of this rate would show."""
    return predict_speed(of, depths, rates=(rate,)).points


def test_a_machine_is_found_again_from_what_it_shows() -> None:
    seen = (
        *observe(model(), "f16", measured(TRUE, 0, 8192)),
        *observe(SMALL, "f16", measured(TRUE, 0, 8192, of=SMALL)),
    )
    (found,) = fit_rates(seen, engine="e", settings="8 threads", measured_on="2026-11-20")
    assert (found.engine, found.settings, found.measured_on) == ("e", "8 threads", "2026-11-20")
    for field in msgspec.structs.fields(TypeRate):
        value = getattr(TRUE, field.name)
        if isinstance(value, float):
            assert getattr(found, field.name) == pytest.approx(value, rel=1e-6), field.name
    assert (found.least_active_bytes, found.most_active_bytes) == (1_000_000_000, 4_000_000_000)


def test_one_size_at_one_depth_tells_one_rate() -> None:
    (found,) = fit_rates(observe(model(), "f16", (SpeedPoint(0, 10.0, None),)))
    assert found.weights_gb_per_s == pytest.approx(40.0)
    assert found.overhead_us == 0
    assert found.kv_gb_per_s is found.prefill_gparameters_per_s is found.prefill_kv_gb_per_s is None


def test_types_and_mixtures_of_experts_are_kept_apart() -> None:
    seen = [
        *observe(model(type="Q8_0"), "f16", (SpeedPoint(0, 5.0, None),)),
        *observe(model(), "f16", (SpeedPoint(0, 10.0, None),)),
        *observe(model(experts=64), "f16", (SpeedPoint(0, 3.0, None),)),
    ]
    assert [(rate.type, rate.experts) for rate in fit_rates(seen)] == [("Q4_K", False), ("Q4_K", True), ("Q8_0", False)]


def test_what_cannot_be_used_is_left_out() -> None:
    assert observe(model(active_bytes=None), "f16", (SpeedPoint(0, 10.0, None),)) == ()
    assert len(observe(model(layers=None), "f16", (SpeedPoint(0, 10.0, None), SpeedPoint(512, 9.0, None)))) == 1
    assert fit_rates(observe(model(), "f16", (SpeedPoint(0, None, 100.0),))) == ()
    assert fit_rates(()) == ()


@given(st.lists(st.floats(0.9, 1.1), min_size=8, max_size=8))
def test_noise_of_a_tenth_moves_a_prediction_by_no_more(noise: list[float]) -> None:
    points = [*measured(TRUE, 0, 8192), *measured(TRUE, 0, 8192)]
    noisy = [
        SpeedPoint(point.depth_tokens, (point.decode_tokens_per_s or 0) * by, None)
        for point, by in zip(points, noise[:4], strict=True)
    ]
    (found,) = fit_rates(observe(model(), "f16", noisy))
    for true, near in zip(measured(TRUE, 0, 8192), measured(found, 0, 8192), strict=True):
        assert near.decode_tokens_per_s == pytest.approx(true.decode_tokens_per_s, rel=0.12)
