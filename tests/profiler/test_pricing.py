"""What a lost token costs: exact where times follow the law, honest where they do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Evidence
from profiler.pricing import MIN_SAMPLES, Loss, fit_prefill, samples_of
from profiler.records import CacheVerdict, Failure, Reply, RequestRecord, Stamps

A_NS, B_NS, C_NS = 5e6, 1e5, 30.0


def time_ns(u: int, k: int, a: float = A_NS, b: float = B_NS, c: float = C_NS) -> int:
    return round(a + b * u + c * u * (u / 2 + k))


def samples(noise: float = 0.0, seed: int = 0) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(seed)
    shapes = itertools.product((40, 200, 900, 3000), (0, 500, 4000, 9000))
    return [(u, k, round(time_ns(u, k) * (1 + noise * rng.standard_normal()))) for u, k in shapes]


def test_times_that_follow_the_law_are_priced_exactly() -> None:
    model = fit_prefill(samples(), "engine")
    assert model is not None
    loss = Loss(depth_tokens=2000, tokens=1500)
    # The request evaluated 1600 tokens after 2000; without the loss, 100 after 3500.
    wanted = time_ns(1600, 2000) - time_ns(100, 3500)
    assert model.price([loss]).s == pytest.approx(wanted / 1e9, rel=1e-3)


def test_prices_add_up() -> None:
    model = fit_prefill(samples(), "engine")
    assert model is not None
    whole = model.price([Loss(1000, 900)]).s
    parts = model.price([Loss(1000, 400), Loss(1400, 500)]).s
    assert parts == pytest.approx(whole)


def test_the_same_tokens_cost_more_deeper_in() -> None:
    model = fit_prefill(samples(), "engine")
    assert model is not None
    assert model.price([Loss(20_000, 500)]).s > model.price([Loss(0, 500)]).s


def test_the_interval_covers_the_truth_under_noise() -> None:
    loss = Loss(2000, 1500)
    truth = (time_ns(1600, 2000) - time_ns(100, 3500)) / 1e9
    prices = [model.price([loss]) for seed in range(200) if (model := fit_prefill(samples(0.05, seed), "engine"))]
    assert len(prices) == 200
    covered = sum((p.low_s or 0) <= truth <= (p.high_s or 0) for p in prices)
    # A constant held at its bound of 0 costs some coverage of the nominal 95 %.
    assert covered >= 0.88 * len(prices)
    assert np.median([p.s for p in prices]) == pytest.approx(truth, rel=0.03)


def test_one_disturbed_request_does_not_tilt_the_price() -> None:
    spoilt = samples(0.01)
    spoilt[7] = (*spoilt[7][:2], spoilt[7][2] * 20)
    clean, found = fit_prefill(samples(0.01), "engine"), fit_prefill(spoilt, "engine")
    assert clean is not None
    assert found is not None
    loss = [Loss(1000, 2000)]
    assert found.price(loss).s == pytest.approx(clean.price(loss).s, rel=0.25)


def test_prompts_of_about_one_length_are_priced_by_their_tokens() -> None:
    """Whose times are noise around one value: a constant and no rate would fit them as well."""
    model = fit_prefill([(1000 + 10 * n, 0, 10**9 + (-1) ** n * 10**7) for n in range(7)], "engine")
    assert model is not None
    assert model.price([Loss(0, 1030)]).s == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("few", [[], samples()[: MIN_SAMPLES - 1], [(100, k, 10**7) for k in range(10)]])
def test_too_little_to_tell_a_rate_gives_no_model(few: list[tuple[int, int, int]]) -> None:
    assert fit_prefill(few, "engine") is None


@given(st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 10**5), st.integers(1, 10**12)), max_size=30))
def test_whatever_was_measured_prices_are_never_negative(measured: list[tuple[int, int, int]]) -> None:
    model = fit_prefill(measured, "engine")
    if model is not None:
        price = model.price([Loss(100, 500)])
        assert price.s >= 0
        assert (price.low_s or 0) <= price.s <= (price.high_s or 0) + 1e-12


def record(evaluated: int | None, prefill_ns: int | None, error: Failure | None = None) -> RequestRecord:
    evidence = Evidence(prompt_tokens=1000, cached_tokens=100, evaluated_tokens=evaluated, prefill_ns=prefill_ns)
    verdict = CacheVerdict("hit", 1000, 100, "x", 100, 100, True, 0, 0, 0, 0, "observed")
    stamps = Stamps(sent_ns=0, first_delta_ns=50)
    return RequestRecord(1, "s", "c", 0, 0, "rehearse", "none", 0, stamps, evidence, Reply(), verdict, error)


def test_the_engines_clock_is_preferred_and_failed_requests_are_left_out() -> None:
    records = [record(900, 40), record(900, None), record(None, 40), record(900, 40, Failure("EngineDied", ""))]
    assert samples_of(records) == ([(900, 100, 40)], "engine")
    assert samples_of([record(900, None)]) == ([(900, 100, 50)], "ttft")


def test_the_pace_is_how_much_slower_than_the_price_requests_were() -> None:
    model = fit_prefill(samples(), "engine")
    assert model is not None
    assert model.pace([record(900, time_ns(900, 100))]) == pytest.approx(1.0, rel=1e-3)
    slow = [record(900, 3 * time_ns(900, 100)), record(300, 3 * time_ns(300, 100))]
    assert model.pace(slow) == pytest.approx(3.0, rel=1e-3)
    assert model.pace([*slow, record(None, None)]) == pytest.approx(3.0, rel=1e-3)
    # Another clock, or none: nothing is told.
    assert model.pace([record(900, None)]) == 1.0
    assert model.pace([]) == 1.0
