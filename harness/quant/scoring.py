"""The quality of each candidate against the reference, on the bundled text or on the sessions that the user named.

One model is in memory at a time: the reference is evaluated once, kept beside the runs, and used again by later
comparisons. What is computed is `profiler.quality`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from backends import missing_extra, open_scorer
from backends.abilities import Scorer
from backends.base import RequestRejected, Target
from harness.quant.base import Candidate
from harness.quant.candidates import Choice
from harness.quant.engines import scorer_of, scorer_options
from harness.quant.plan import QuantPlan
from harness.quant.steps import CACHE_IDS, CacheFound, QualityFound
from harness.quant.store import read_comparison
from profiler.quality.base import Estimate
from profiler.quality.chunks import Chunks, cut, of_text, read_text, session_tokens
from profiler.quality.reference_file import Reference
from profiler.quality.scoring import noise_floor, reference_of, scores
from profiler.quality.summary import summarise
from profiler.rendered import Rendered
from profiler.store import read_prompts

__all__ = ["REFERENCES", "Bench", "Scoring", "by_position", "can_score", "scorer_target"]

REFERENCES: Final = "references"
"""The folder beside the runs where the log-probabilities of references are kept."""


class Bench(Protocol):
    """Measures quality."""

    def measure(self, candidate: Candidate) -> QualityFound:
        """The quality of a candidate. Raises EngineError, QualityError."""
        ...


def can_score(choice: Choice) -> bool:
    """Whether what gives logits is installed for all of these files."""
    return all(scorer_of(one.model) is not None for one in choice.all)


def by_position(choice: Choice) -> bool:
    """Whether a server is asked for the probabilities at each position, for want of what evaluates batches."""
    return any(scorer_of(one.model) == "llama-server" for one in choice.all)


def scorer_target(candidate: Candidate) -> Target:
    """What gives the logits of a candidate: its file with its type of KV cache. Raises `MissingExtra`."""
    engine = scorer_of(candidate.model)
    if engine is None:
        raise missing_extra(*("mlx_lm", "mlx") if candidate.model.container == "mlx" else ("llama_cpp", "llama-cpp"))
    return Target(engine, str(candidate.model.path), options=scorer_options(engine, candidate))


class Scoring:
    """Measures the candidates of one comparison."""

    def __init__(self, plan: QuantPlan, path: Path, *, open_one: Callable[[Target], Scorer] = open_scorer) -> None:
        """`path` is the comparison's folder."""
        self._plan = plan
        self._path = path
        self._open = open_one
        self._reference: Reference | None = None
        self._prompts: tuple[Rendered, ...] | None = None

    def measure(self, candidate: Candidate) -> QualityFound:
        """The quality of a candidate, the reference's own too: what keeping it costs, and its noise.

        Raises:
            EngineError: a model could not be loaded or evaluated.
            QualityError: the models cannot be compared token by token, or the reference cannot be kept.
        """
        if self._reference is None and candidate != self._plan.choice.reference:
            with closing(self._open(scorer_target(self._plan.choice.reference))) as scorer:
                self._kept(scorer)
        with closing(self._open(scorer_target(candidate))) as scorer:
            chunks = self._chunks(scorer)
            reference = self._reference or self._kept(scorer)
            found = tuple(scores(scorer, chunks, reference))
            floor = _floor(scorer, chunks)
        return QualityFound(summarise(self._plan.choice.reference.name, found, floor=floor))

    def _kept(self, scorer: Scorer) -> Reference:
        files = self._plan.choice.reference.model.files
        self._reference = reference_of(scorer, self._chunks(scorer), files, self._path.parent / REFERENCES)
        return self._reference

    def _chunks(self, scorer: Scorer) -> Chunks:
        amount = self._plan.amount
        if self._prompts is None:
            self._prompts = () if self._plan.short_sessions else self._own_prompts()
        if self._prompts:
            tokens = session_tokens(self._prompts)
            if len(tokens) >= amount.chunk_tokens:
                first = scorer.first_token()
                return cut(tokens, first_token=first, chunk_tokens=amount.chunk_tokens, most=amount.chunks)
        return of_text(scorer, read_text(), chunk_tokens=amount.chunk_tokens, most=amount.chunks)

    def _own_prompts(self) -> tuple[Rendered, ...]:
        """The prompts of the user's sessions as the first candidate that replayed them rendered them."""
        done = read_comparison(self._path).done
        load = next((one.load for one in done if isinstance(one.found, CacheFound) and one.load), None)
        if load is None:
            return ()
        return tuple(prompt for request_id, prompt in read_prompts(self._path / load) if request_id > CACHE_IDS)


def _floor(scorer: Scorer, chunks: Chunks) -> Estimate | None:
    """The candidate's noise; `None` where the engine evaluates in one way alone, so that nothing can be compared."""
    try:
        return noise_floor(scorer, chunks)
    except RequestRejected:
        return None
