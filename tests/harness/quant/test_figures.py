"""The figures of a candidate: what counts as its memory, which depth, which interval. Candidates are made up."""

from __future__ import annotations

import msgspec
import pytest

from harness.quant.base import CandidateResult, RateAt, Wanted
from harness.quant.figures import figures_of, rate_at, rate_figure
from profiler.fit.base import FitVerdict, MemoryPrediction, Part
from tests.harness.quant.made_up import GIB, WANTED, candidate


def mapped(name: str, weights: int, idle: int = 0) -> CandidateResult:
    """A model whose weights are pages of its file, as llama.cpp maps them on a CPU."""
    made = candidate(name)
    assert made.predicted is not None
    assert made.measured is not None
    parts = (
        Part("weights", weights, "host", "engine plan", "mapped", reclaimable=True),
        Part("weights", idle, "host", "engine plan", "repacked", reclaimable=True, idle=True),
        Part("kv_cache", GIB, "host", "engine plan", "cells"),
    )
    predicted = msgspec.structs.replace(
        made.predicted, memory=MemoryPrediction(parts), fit=FitVerdict("fits", "fits in 24.0 GiB")
    )
    measured = msgspec.structs.replace(made.measured, must_have_bytes=GIB + 5, file_bytes=weights + idle + 777)
    return msgspec.structs.replace(made, predicted=predicted, measured=measured)


def test_a_mapped_model_is_not_smaller_for_being_mapped() -> None:
    small, large = (figures_of(mapped(*arguments), WANTED) for arguments in (("Q6_K", 6 * GIB), ("F16", 15 * GIB)))
    assert small["memory_bytes"].high < large["memory_bytes"].low


def test_the_rate_is_the_deepest_that_the_context_reaches() -> None:
    rates = tuple(RateAt(depth, (100.0,), (10.0,)) for depth in (32768, 0, 4096))
    depths = [found.depth_tokens for context in (8192, 40000, 100) if (found := rate_at(rates, context))]
    assert depths == [4096, 32768, 0]
    assert rate_at((RateAt(0, (100.0,), ()),), 8192) is None


def test_repeats_have_students_interval_and_one_has_none() -> None:
    figure = rate_figure((5.0, 10.0, 20.0), "measured")
    assert figure is not None
    assert (figure.told, figure.n) == (True, 3)
    assert figure.value == pytest.approx(10.0)
    assert figure.high / figure.value == pytest.approx(figure.value / figure.low)
    assert figure.high / figure.value == pytest.approx(2 ** (4.3027 / 3**0.5), rel=1e-4)
    wide = rate_figure((1000.0, 5000.0), "measured")
    assert wide is not None
    assert 0 < wide.low < 1000, "no rate below zero"
    one = rate_figure((10.0,), "measured")
    assert one is not None
    assert not one.told
    assert one.low == pytest.approx(10.0)
    assert rate_figure((), "measured") is None


def test_a_prediction_of_memory_is_not_exact() -> None:
    made = candidate("Q6_K", with_measured=False, with_quality=False)
    figure = figures_of(made, Wanted(8192))["memory_bytes"]
    assert figure.found == "predicted"
    assert figure.low == pytest.approx(0.9 * figure.value)
