from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.quality.chunks import BUNDLED_TEXT, Chunks, cut, read_text, session_tokens
from profiler.quality.errors import QualityError
from profiler.rendered import Rendered


def test_a_text_is_cut_and_its_rest_dropped() -> None:
    chunks = cut(range(11), first_token=None, chunk_tokens=4)
    assert chunks.lists() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert (chunks.first, chunks.scored_tokens) == (2, 1)
    assert chunks.targets.tolist() == [[3], [7]]


def test_of_512_tokens_255_are_scored() -> None:
    chunks = cut(range(512), first_token=None)
    assert (chunks.first, chunks.scored_tokens, chunks.targets[0][0]) == (256, 255, 257)


def test_the_first_token_stands_before_the_text_and_replaces_each_chunks_first() -> None:
    """llama-perplexity tokenizes with BOS, then puts BOS over the first token of each chunk."""
    chunks = cut(range(1, 9), first_token=99, chunk_tokens=4)
    assert chunks.lists() == [[99, 1, 2, 3], [99, 5, 6, 7]]


def test_the_first_chunks_can_be_taken_alone() -> None:
    chunks = cut(range(100), first_token=None, chunk_tokens=8, most=3)
    assert len(chunks) == 3
    assert chunks.head(1).lists() == [list(range(8))]


@pytest.mark.parametrize(("tokens", "length"), [(7, 8), (100, 3)])
def test_what_cannot_be_scored_is_refused(tokens: int, length: int) -> None:
    with pytest.raises(QualityError):
        cut(range(tokens), first_token=None, chunk_tokens=length)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 9), min_size=8, max_size=60), st.integers(4, 8))
def test_every_scored_token_is_the_texts(ids: list[int], length: int) -> None:
    chunks = cut(ids, first_token=None, chunk_tokens=length)
    assert chunks.token_ids.reshape(-1).tolist() == ids[: len(chunks) * length]
    assert chunks.targets.shape == (len(chunks), chunks.scored_tokens)
    assert chunks.first >= length // 2


def test_the_digest_knows_how_a_text_is_cut() -> None:
    whole = cut(range(16), first_token=None, chunk_tokens=16)
    assert whole.sha256 != cut(range(16), first_token=None, chunk_tokens=8).sha256
    assert whole.sha256 == Chunks(np.arange(16, dtype=np.int32).reshape(1, 16)).sha256


def test_sessions_are_read_once_each() -> None:
    def prompt(*ids: int, reply: tuple[int, ...] = ()) -> Rendered:
        return Rendered("", array("i", ids), array("i", reply))

    run = [prompt(1, 2), prompt(1, 2, 3, 4, reply=(5,)), prompt(7, 8), prompt(1, 2, 9)]
    assert session_tokens(run).tolist() == [1, 2, 3, 4, 5, 7, 8, 1, 2, 9]


def test_the_bundled_text_is_there_and_ends_without_a_line_end() -> None:
    text = read_text()
    assert 100_000 < len(text.encode()) < 300_000
    assert not text.endswith("\n")
    assert (BUNDLED_TEXT.parent / "README.md").is_file()


def test_a_text_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe4")
    for name in ("latin", "missing"):
        with pytest.raises(QualityError, match=name):
            read_text(tmp_path / name)
