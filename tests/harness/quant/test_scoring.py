"""Quality of the candidates of a comparison: the reference is evaluated once, kept, and found again."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from backends.base import Facts, Target
from harness.quant.base import Candidate
from harness.quant.candidates import Choice
from harness.quant.plan import QuantPlan
from harness.quant.scoring import REFERENCES, Scoring
from tests.harness.quant.comparisons import choice, plan, stored

VOCABULARY = 64


class FakeScorer:
    """Logits that depend on the token alone, and on how coarse the candidate is."""

    def __init__(self, coarse: float) -> None:
        self._coarse = coarse

    def tokenize(self, text: str) -> array[int]:
        return array("i", (ord(letter) % VOCABULARY for letter in text))

    def first_token(self) -> int | None:
        return None

    def logits(
        self,
        chunks: Sequence[Sequence[int]],
        first: int,
        *,
        batch_tokens: int | None = None,
        block_bytes: int | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        table = np.random.default_rng(7).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32) * 3
        rough = np.round(table / self._coarse) * self._coarse if self._coarse else table
        for chunk in chunks:
            yield rough[np.asarray(chunk[first:])].astype(np.float32)

    def facts(self) -> Facts:
        return Facts("fake", model="fake")

    def pids(self) -> tuple[int, ...]:
        return ()

    def close(self) -> None:
        pass


class Opener:
    """Opens fake scorers, and keeps which ones."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(self, target: Target) -> FakeScorer:
        self.opened.append(Path(target.model or "").name)
        return FakeScorer(0.0 if "F16" in self.opened[-1] else 1.0 if "Q4" in self.opened[-1] else 0.2)


@pytest.fixture
def of(tmp_path: Path) -> QuantPlan:
    """A plan whose files are there, since a reference is kept by what they hold."""
    made: list[Candidate] = []
    for one in choice().candidates:
        file = tmp_path / one.model.path.name
        file.write_text(one.name)
        made.append(msgspec.structs.replace(one, model=msgspec.structs.replace(one.model, path=file, files=(file,))))
    amount = msgspec.structs.replace(plan().amount, chunks=4, chunk_tokens=64)
    return plan(Choice(tuple(made), made[0]), amount=amount)


def test_the_reference_is_evaluated_once_and_found_again(tmp_path: Path, of: QuantPlan) -> None:
    path, opener = stored(tmp_path / "runs", of), Opener()
    scoring = Scoring(of, path, open_one=opener)
    own, fine, coarse = (scoring.measure(one).quality for one in of.choice.candidates)
    assert opener.opened == [one.model.path.name for one in of.choice.candidates]
    assert own.reference == fine.reference == "F16"
    assert own.kld.value < 1e-5
    assert own.kld.value < fine.kld.value < coarse.kld.value
    assert fine.chunks == 4
    assert fine.floor is not None
    assert len(list((tmp_path / "runs" / REFERENCES).iterdir())) == 1
    # Another sitting, as after a kill: the reference is loaded for its facts, and read from its file.
    again = Opener()
    assert Scoring(of, path, open_one=again).measure(of.choice.candidates[2]).quality == coarse
    assert again.opened == [of.choice.candidates[0].model.path.name, of.choice.candidates[2].model.path.name]
    assert len(list((tmp_path / "runs" / REFERENCES).iterdir())) == 1
