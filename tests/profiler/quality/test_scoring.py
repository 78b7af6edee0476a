from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backends.abilities import Scorer
from profiler.quality import scoring
from profiler.quality.chunks import Chunks, check_tokenizer, of_text
from profiler.quality.errors import QualityError
from profiler.quality.summary import summarise
from tests.profiler.quality.scorers import ArithmeticScorer

TEXT = "A text of which every byte is a token, and of which three chunks can be made."


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, ...]:
    (tmp_path / "model").write_bytes(b"weights")
    return (tmp_path / "model",)


def chunks_of(scorer: Scorer) -> Chunks:
    return of_text(scorer, TEXT, chunk_tokens=21)


def test_a_candidate_that_is_its_reference_is_no_further_than_the_file(tmp_path: Path, model: tuple[Path, ...]) -> None:
    scorer = ArithmeticScorer()
    chunks = chunks_of(scorer)
    assert (len(chunks), chunks.first, chunks.scored_tokens) == (3, 10, 10)
    reference = scoring.reference_of(scorer, chunks, model, tmp_path)
    quality = summarise("m", list(scoring.scores(scorer, chunks, reference)))
    assert quality.scored_tokens == 30
    assert 0 <= quality.kld.value < 1e-6
    assert quality.kld.value == pytest.approx(reference.footer.own_kld)
    assert quality.same_top.value == 1


def test_scores_are_those_of_the_tokens_that_follow(tmp_path: Path, model: tuple[Path, ...]) -> None:
    scorer = ArithmeticScorer(blur=0.5)
    chunks = chunks_of(scorer)
    reference = scoring.reference_of(ArithmeticScorer(), chunks, model, tmp_path)
    scored = list(scoring.scores(scorer, chunks, reference))
    for number, chunk in enumerate(chunks.lists()):
        for row, at in enumerate(range(10, 20)):
            logits = np.random.default_rng(chunk[: at + 1]).normal(size=256) * 3
            logits[::2] += 0.5
            expected = np.log(np.exp(logits).sum()) - logits[chunk[at + 1]]
            assert scored[number].nll[row] == pytest.approx(expected, rel=1e-5)
    assert all((one.kld > 0).all() for one in scored)


def test_a_reference_is_evaluated_once(tmp_path: Path, model: tuple[Path, ...]) -> None:
    scorer = ArithmeticScorer()
    chunks = chunks_of(scorer)
    first = scoring.reference_of(scorer, chunks, model, tmp_path / "kept")
    assert scoring.reference_of(scorer, chunks, model, tmp_path / "kept").file == first.file
    assert scorer.asked == 3
    model[0].write_bytes(b"other weights")
    assert scoring.reference_of(scorer, chunks, model, tmp_path / "kept").file != first.file
    assert scorer.asked == 6


def test_a_reference_of_another_text_is_refused(tmp_path: Path, model: tuple[Path, ...]) -> None:
    scorer = ArithmeticScorer()
    reference = scoring.reference_of(scorer, chunks_of(scorer), model, tmp_path)
    other = of_text(scorer, TEXT.upper(), chunk_tokens=21)
    with pytest.raises(QualityError, match="another text"):
        next(scoring.scores(scorer, other, reference))


def test_the_floor_is_what_token_by_token_changes() -> None:
    chunks = chunks_of(ArithmeticScorer())
    assert scoring.noise_floor(ArithmeticScorer(), chunks).value == 0
    rough = scoring.noise_floor(ArithmeticScorer(rough=0.25), chunks)
    assert rough.n_chunks == 2
    # Two even halves of which one is raised by d: about d²/8 nats.
    assert rough.value == pytest.approx(0.25**2 / 8, rel=0.3)


def test_models_with_other_tokens_are_not_compared() -> None:
    check_tokenizer(ArithmeticScorer(), ArithmeticScorer(), TEXT)
    with pytest.raises(QualityError, match="begins a text"):
        check_tokenizer(ArithmeticScorer(), ArithmeticScorer(bos=1), TEXT)
