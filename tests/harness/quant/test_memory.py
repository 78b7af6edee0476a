"""What a candidate has to have: compared only at what was filled, and never passed by a short prompt. Made up."""

from __future__ import annotations

import msgspec
import pytest

from harness.quant.base import CandidateResult, PartFilled, Wanted
from harness.quant.memory import FullContext, at_fill, full_context, measured_memory, must_have, predicted_memory
from harness.quant.need import excluded_by_need
from profiler.fit.base import FitVerdict, MemoryPrediction, Part
from tests.harness.quant.made_up import GIB, candidate

WANTED = Wanted(context_tokens=8192)
MIB = 1 << 20


def made(
    filled: int | None = 1024,
    *,
    measured: int = GIB + 5,
    small: int | None = GIB,
    whole: int = 3 * GIB,
    mapped: int = 6 * GIB,
    idle: int = 0,
    fits: bool = True,
) -> CandidateResult:
    """A candidate with `small` bytes predicted for 1,024 tokens, `whole` for all 8,192, and mapped weights."""
    weights = (
        Part("weights", mapped, "host", "engine plan", "mapped", reclaimable=True),
        Part("weights", idle, "host", "engine plan", "repacked", reclaimable=True, idle=True),
    )

    def prediction(bytes_: int) -> MemoryPrediction:
        return MemoryPrediction((*weights, Part("compute", bytes_, "host", "engine plan", "a batch")))

    result = candidate("Q6_K")
    assert result.predicted is not None
    assert result.measured is not None
    predicted = msgspec.structs.replace(
        result.predicted,
        memory=prediction(whole),
        fit=FitVerdict("fits", "fits") if fits else FitVerdict("does_not_fit", "needs 9 GiB of 8 GiB"),
        part_filled=None if small is None else PartFilled(1024, prediction(small)),
    )
    seen = msgspec.structs.replace(
        result.measured, must_have_bytes=measured, file_bytes=mapped + idle + 777, filled_tokens=filled
    )
    return msgspec.structs.replace(result, predicted=predicted, measured=seen)


def test_memory_is_what_it_must_have_with_the_pages_that_each_token_reads() -> None:
    one = made(8192, whole=GIB, idle=2 * GIB)
    assert must_have(one) == (GIB, GIB + 5)
    assert predicted_memory(one) == 7 * GIB
    assert measured_memory(one) == 7 * GIB + 5
    assert measured_memory(msgspec.structs.replace(one, predicted=None)) == GIB + 5 + 8 * GIB + 777


@pytest.mark.parametrize(
    ("filled", "expected"),
    [(1024, GIB), (4608, 2 * GIB), (8192, 3 * GIB), (9000, 3 * GIB), (None, None)],
)
def test_the_prediction_that_is_compared_is_of_what_was_filled(filled: int | None, expected: int | None) -> None:
    assert at_fill(made(filled), WANTED) == expected


def test_without_a_prediction_for_a_part_nothing_is_compared() -> None:
    assert at_fill(made(small=None), WANTED) is None
    assert at_fill(msgspec.structs.replace(made(), predicted=None), WANTED) is None


def test_what_the_rest_of_the_context_takes_is_added_to_what_was_measured() -> None:
    assert full_context(made(), WANTED) == FullContext(GIB + 5 + 2 * GIB + 6 * GIB, measured=True, growth_bytes=2 * GIB)
    assert full_context(made(8192), WANTED) == FullContext(GIB + 5 + 6 * GIB, measured=True)


def test_where_the_rest_is_not_known_the_larger_figure_counts() -> None:
    assert full_context(made(small=None), WANTED) == FullContext(9 * GIB, measured=False)
    assert full_context(made(None, measured=4 * GIB), WANTED) == FullContext(10 * GIB, measured=True)


def test_a_short_prompt_lets_none_pass_the_limit() -> None:
    wanted = msgspec.structs.replace(WANTED, memory_bytes=8 * GIB)
    out = excluded_by_need(made(), wanted)
    assert out is not None
    assert out.reason == ("needs 7.00 GiB, measured, and 2.00 GiB for the rest of the context, predicted, of 8.00 GiB")
    assert excluded_by_need(made(8192), wanted) is None


def test_a_short_prompt_does_not_outweigh_that_all_of_it_would_not_fit_the_machine() -> None:
    out = excluded_by_need(made(fits=False), WANTED)
    assert out is not None
    assert out.predicted
    assert excluded_by_need(made(8192, fits=False), WANTED) is None
