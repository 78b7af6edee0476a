from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from profiler.quality.base import ChunkScores
from profiler.quality.divergence import joined, score, score_blocks
from profiler.quality.errors import QualityError

VOCABULARY = 5
Pair = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def logits(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    rows = draw(st.integers(1, 6))
    values = st.floats(-40, 40, width=32)
    p, q = (draw(arrays(np.float32, (rows, VOCABULARY), elements=values)) for _ in range(2))
    return p, q, draw(arrays(np.int64, rows, elements=st.integers(0, VOCABULARY - 1)))


def test_two_coins_by_hand() -> None:
    """p = (3/4, 1/4), q = (1/2, 1/2): KLD = ¾ ln 1.5 + ¼ ln 0.5."""
    scores = score(logits([math.log(3), 0.0]), logits([0.0, 0.0]), np.array([0]))
    assert scores.nll[0] == pytest.approx(math.log(2))
    assert scores.reference_nll[0] == pytest.approx(math.log(4 / 3), rel=1e-6)
    assert scores.kld[0] == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-6)
    assert scores.delta_p[0] == pytest.approx(0.5 - 0.75, rel=1e-6)
    assert scores.same_top[0]


def test_what_lies_below_sixteen_nats_counts() -> None:
    """llama-perplexity leaves these out; here they are p (ln p − ln q) as any other."""
    scores = score(logits([0.0, -20.0]), logits([0.0, -40.0]), np.array([1]))
    assert scores.kld[0] == pytest.approx(math.exp(-20) * 20 - math.exp(-20), rel=1e-4)
    assert scores.reference_nll[0] == pytest.approx(20, rel=1e-6)


def test_a_token_that_the_reference_excludes_has_no_part() -> None:
    scores = score(logits([0.0, 0.0, -math.inf]), logits([0.0, 0.0, 0.0]), np.array([0]))
    assert scores.kld[0] == pytest.approx(math.log(3 / 2))
    both = score(logits([0.0, 0.0, -math.inf]), logits([0.0, 0.0, -math.inf]), np.array([0]))
    assert both.kld[0] == pytest.approx(0)


def test_a_token_that_only_the_candidate_excludes_is_infinitely_far() -> None:
    assert score(logits([0.0, 0.0]), logits([0.0, -math.inf]), np.array([0])).kld[0] == math.inf


def test_a_damaged_model_is_named() -> None:
    with pytest.raises(QualityError, match="no numbers"):
        score(logits([0.0, 0.0]), logits([math.nan, 0.0]), np.array([0]))


def test_vocabularies_of_different_size_are_refused() -> None:
    with pytest.raises(QualityError, match="3 logits a token, the candidate 2"):
        score(logits([0.0, 0.0, 0.0]), logits([0.0, 0.0]), np.array([0]))


@settings(max_examples=25)
@given(pairs())
def test_a_divergence_is_never_negative(pair: Pair) -> None:
    assert (score(*pair).kld >= -1e-12).all()


@settings(max_examples=25)
@given(pairs())
def test_a_model_is_not_far_from_itself(pair: Pair) -> None:
    p, _, targets = pair
    scores = score(p, p, targets)
    assert np.abs(scores.kld).max() == 0
    assert np.abs(scores.delta_p).max() == 0
    assert scores.same_top.all()
    assert (scores.nll == scores.reference_nll).all()


@settings(max_examples=25)
@given(pairs())
def test_exchanging_the_two_turns_signs_and_keeps_the_tops(pair: Pair) -> None:
    p, q, targets = pair
    there, back = score(p, q, targets), score(q, p, targets)
    assert (there.same_top == back.same_top).all()
    assert there.delta_p == pytest.approx(-back.delta_p, abs=1e-15)
    assert (there.nll == back.reference_nll).all()


@settings(max_examples=25)
@given(pairs(), st.integers(-8, 8))
def test_a_constant_added_to_a_row_changes_nothing(pair: Pair, shift: int) -> None:
    p, q, targets = (np.round(pair[0]), np.round(pair[1]), pair[2])
    assert_close(score(p, q, targets), score(p + np.float32(shift), q - np.float32(shift), targets))


@settings(max_examples=25)
@given(pairs(), st.data())
def test_blocks_cut_in_any_way_give_the_same(pair: Pair, data: st.DataObject) -> None:
    p, q, targets = pair
    cuts = st.lists(st.integers(0, len(p)), max_size=3).map(sorted)
    blocks = [np.split(side, data.draw(cuts)) for side in (p, q)]
    assert_close(score_blocks(iter(blocks[0]), iter(blocks[1]), targets), score(p, q, targets))


def test_rows_after_the_last_target_are_not_looked_at() -> None:
    p, q = logits([0.0, 1.0], [math.nan, 0.0]), logits([1.0, 0.0], [0.0, 0.0])
    assert len(score_blocks([p], [q], np.array([0])).kld) == 1


def test_too_few_rows_are_an_error() -> None:
    p = logits([0.0, 1.0])
    with pytest.raises(QualityError, match="1 tokens where 2"):
        score_blocks([p], [p, p], np.array([0, 1]))


def test_more_rows_than_a_block_holds() -> None:
    random = np.random.default_rng(0)
    p, q = (random.normal(size=(50, 4000)).astype(np.float32) for _ in range(2))
    targets = random.integers(0, 4000, 50)
    whole = score(p, q, targets)
    assert_close(whole, joined([score(p[i : i + 1], q[i : i + 1], targets[i : i + 1]) for i in range(50)]))


def assert_close(a: ChunkScores, b: ChunkScores) -> None:
    for name in ("nll", "reference_nll", "kld", "delta_p"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-12)
    assert (a.same_top == b.same_top).all()
