"""A text in chunks of tokens, as llama-perplexity cuts it (`tools/perplexity/perplexity.cpp`). Evaluates nothing.

The tokens of the text, after the first token that the model wants (BOS) if it wants one, are cut into chunks of one
length; what is left over is dropped. Each chunk begins anew, with BOS in place of its first token. What follows the
tokens from the middle on is scored, so that each has half a chunk of context at least: `chunk_tokens // 2` is the
first, and of 512 tokens 255 are scored.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from backends.abilities import Scorer
from profiler.quality.errors import QualityError
from profiler.rendered import Rendered

BUNDLED_TEXT = Path(__file__).parents[2] / "profiles" / "texts" / "agent-work.txt"
CHUNK_TOKENS = 512


class Chunks(msgspec.Struct, frozen=True):
    """`token_ids`: (chunks, tokens) int32, as the model reads them."""

    token_ids: NDArray[np.int32]

    @property
    def first(self) -> int:
        """The position from which on logits are looked at."""
        return int(self.token_ids.shape[1]) // 2

    @property
    def scored_tokens(self) -> int:
        """Scored tokens of one chunk."""
        return int(self.token_ids.shape[1]) - 1 - self.first

    @property
    def targets(self) -> NDArray[np.int32]:
        """The tokens that are scored, (chunks, scored tokens)."""
        return self.token_ids[:, self.first + 1 :]

    @property
    def sha256(self) -> str:
        """The digest of all tokens and of how they are cut."""
        head = f"{self.token_ids.shape} from {self.first}\n".encode()
        return hashlib.sha256(head + self.token_ids.astype("<i4").tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.token_ids)

    def head(self, count: int) -> Chunks:
        """The first chunks."""
        return Chunks(self.token_ids[:count])

    def lists(self) -> list[list[int]]:
        """The token ids, as a scorer takes them."""
        ids: list[list[int]] = self.token_ids.tolist()
        return ids


def cut(
    token_ids: Sequence[int], *, first_token: int | None, chunk_tokens: int = CHUNK_TOKENS, most: int | None = None
) -> Chunks:
    """The chunks of a text's tokens; `first_token` is what `Scorer.first_token` says, `most` keeps the first ones.

    Raises:
        QualityError: the text is shorter than a chunk, or a chunk too short to score one token.
    """
    if chunk_tokens < 4:
        raise QualityError(f"chunks of {chunk_tokens} tokens cannot be scored", hint=f"the usual is {CHUNK_TOKENS}")
    ids = np.array([*([] if first_token is None else [first_token]), *token_ids], np.int32)
    count = len(ids) // chunk_tokens if most is None else min(most, len(ids) // chunk_tokens)
    if count < 1:
        raise QualityError(
            f"the text has {len(ids)} tokens, a chunk {chunk_tokens}", hint="use a longer text or shorter chunks"
        )
    chunks = ids[: count * chunk_tokens].reshape(count, chunk_tokens).copy()
    if first_token is not None:
        chunks[:, 0] = first_token
    return Chunks(chunks)


def read_text(file: Path = BUNDLED_TEXT) -> str:
    """A text file, without its last line end, as llama-perplexity reads it.

    Raises:
        QualityError: it cannot be read as UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        raise QualityError(f"the text {file} cannot be read: {error}", hint="name a text file in UTF-8") from error


def of_text(scorer: Scorer, text: str, *, chunk_tokens: int = CHUNK_TOKENS, most: int | None = None) -> Chunks:
    """The chunks of a text in a model's tokens. Raises `QualityError` as `cut`, and `EngineError`."""
    tokens = scorer.tokenize(text)
    return cut(tokens, first_token=scorer.first_token(), chunk_tokens=chunk_tokens, most=most)


def session_tokens(prompts: Iterable[Rendered]) -> array[int]:
    """The tokens of a run's sessions, one after the other: each prompt with its reply that no later one continues.

    They hold the chat template's own tokens, which no text gives: they are good for models with the same tokenizer.
    """
    kept: list[array[int]] = []
    for prompt in prompts:
        sequence = prompt.sequence
        kept = [earlier for earlier in kept if earlier != sequence[: len(earlier)]]
        kept.append(sequence)
    joined: array[int] = array("i")
    for sequence in kept:
        joined += sequence
    return joined


def check_tokenizer(reference: Scorer, candidate: Scorer, text: str) -> None:
    """See that two models read a text as the same tokens.

    Raises:
        QualityError: they do not, so that nothing about them can be compared token by token.
    """
    if reference.tokenize(text) != candidate.tokenize(text):
        raise QualityError(
            f"{candidate.facts().model} reads the text as other tokens than {reference.facts().model}",
            hint="compare quants of one model; one of these files has another tokenizer",
        )
    if reference.first_token() != candidate.first_token():
        raise QualityError(
            f"{candidate.facts().model} begins a text with another token than {reference.facts().model}",
            hint="one of these files says otherwise whether BOS is added: correct its metadata",
        )
