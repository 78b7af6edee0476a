from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.quality.base import ChunkScores, Estimate
from profiler.quality.summary import difference, interval, mean, summarise, token_errors, within_floor


def chunk(
    nll: list[float], kld: list[float] | None = None, reference: float = 1.0, top: list[bool] | None = None
) -> ChunkScores:
    values = np.array(nll)
    return ChunkScores(
        nll=values,
        reference_nll=np.full(len(values), reference),
        kld=np.array(kld if kld is not None else [0.0] * len(values)),
        delta_p=np.full(len(values), 0.5),
        same_top=np.array(top if top is not None else [True] * len(values)),
    )


def test_two_chunks_by_hand() -> None:
    quality = summarise("f16", [chunk([1.0, 3.0], [0.1, 0.3]), chunk([3.0, 5.0], [0.3, 0.5], top=[True, False])])
    assert quality.perplexity.value == pytest.approx(math.exp(3))
    # Means 2 and 4: their spread is √2, over √2 chunks 1; of the perplexity e³ times as much.
    assert quality.perplexity.standard_error == pytest.approx(math.exp(3))
    assert quality.log_perplexity_ratio.value == pytest.approx(2)
    assert (quality.kld.value, quality.kld.standard_error) == pytest.approx((0.3, 0.1))
    assert (quality.same_top.value, quality.same_top.standard_error) == pytest.approx((0.75, 0.25))
    assert quality.kld.n_chunks == 2
    assert quality.rms_delta_p.value == 0.5
    assert quality.rms_delta_p.standard_error == 0
    assert (quality.chunks, quality.scored_tokens) == (2, 4)
    assert quality.kld_percentiles["100"] == 0.5
    assert quality.kld_percentiles["50"] == pytest.approx(0.3)
    assert quality.kld_token_error is None


def test_chunks_count_by_their_tokens() -> None:
    estimate = mean([chunk([1.0]), chunk([4.0, 4.0])], lambda c: c.nll)
    assert estimate.value == pytest.approx(3)


def test_one_chunk_has_no_error() -> None:
    quality = summarise("f16", [chunk([1.0, 2.0])])
    assert quality.kld.standard_error is None
    assert interval(quality.kld) is None


def test_an_interval_is_students() -> None:
    found = interval(Estimate(1.0, 0.5, 3))
    assert found is not None
    # t with two degrees of freedom at 97.5 %: 4.302653 (any table).
    assert found == pytest.approx((1 - 0.5 * 4.302653, 1 + 0.5 * 4.302653), rel=1e-6)


def test_candidates_are_compared_in_pairs() -> None:
    """Chunks that are hard for both do not hide that the second is a little worse on each."""
    first = [chunk([1.0, 1.0], [0.1, 0.1]), chunk([9.0, 9.0], [0.9, 0.9])]
    second = [chunk([1.1, 1.1], [0.2, 0.2]), chunk([9.1, 9.1], [1.0, 1.0])]
    found = difference(first, second)
    assert (found.kld.value, found.kld.standard_error) == pytest.approx((0.1, 0), abs=1e-9)
    assert found.nll.value == pytest.approx(0.1)
    assert found.same_top.value == 0


def test_other_chunks_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same reference"):
        difference([chunk([1.0])], [chunk([1.0], reference=2.0)])
    with pytest.raises(ValueError, match="zip"):
        difference([chunk([1.0])], [])


@pytest.mark.parametrize(("floor", "expected"), [(None, None), (0.05, True), (0.02, False)])
def test_twice_the_floor_says_nothing(floor: float | None, expected: bool | None) -> None:
    noise = None if floor is None else Estimate(floor, None, 1)
    assert within_floor(summarise("f16", [chunk([1.0], [0.1])], floor=noise)) is expected


def test_token_errors_are_those_of_independent_tokens() -> None:
    values = [float(i % 4) for i in range(40)]
    errors = token_errors([chunk(values, values, top=[i % 4 > 0 for i in range(40)])])
    assert errors is not None
    assert errors.kld == pytest.approx(math.sqrt(1.25 / 39))
    assert errors.same_top == pytest.approx(math.sqrt(0.75 * 0.25 / 39))
    assert errors.perplexity == pytest.approx(math.exp(1.5) * errors.kld)
    assert errors.correlation is None


def test_few_tokens_have_no_token_errors() -> None:
    assert token_errors([chunk([1.0] * 10)]) is None


@settings(max_examples=25)
@given(st.lists(st.lists(st.floats(0, 20), min_size=1, max_size=8), min_size=2, max_size=6))
def test_the_value_is_the_mean_of_all_tokens(nll: list[list[float]]) -> None:
    quality = summarise("f16", [chunk(one) for one in nll])
    everything = [value for one in nll for value in one]
    assert math.log(quality.perplexity.value) == pytest.approx(sum(everything) / len(everything), abs=1e-9)
    assert quality.perplexity.standard_error is not None
    assert quality.perplexity.standard_error >= 0
