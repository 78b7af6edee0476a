"""The contract of `Scorer` on every engine that has one, and what is special to each."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backends import open_scorer, parse_target
from backends.abilities import Scorer
from backends.base import EngineDied, LaunchError, RequestRejected, TargetError
from tests.backends import mlx_models, random_models

pytestmark = pytest.mark.engine

MODEL = "profiles/models/tiny/tiny-f16.gguf"
TEXT = "def read(path: str) -> bytes:\n    return open(path).read()\n"
CHUNKS = [[100 + 7 * n + k for n in range(24)] for k in range(5)]
Launch = Callable[[str], Scorer]

needs_mlx = pytest.mark.skipif(find_spec("mlx") is None, reason="mlx-lm is not installed: pip install 'llmdyno[mlx]'")


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """One scorer for each target, kept for the module."""
    opened: dict[str, Scorer] = {}

    def of(target: str) -> Scorer:
        if target not in opened:
            opened[target] = open_scorer(parse_target(target))
        return opened[target]

    yield of
    for scorer in opened.values():
        scorer.close()


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mlx_models.write_dense(tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module", params=["llama-cpp", pytest.param("mlx", marks=needs_mlx)])
def scorer(request: pytest.FixtureRequest, launch: Launch) -> Scorer:
    if request.param == "mlx":
        return launch(f"mlx:{request.getfixturevalue('dense')}")
    return launch(f"llama-cpp:{MODEL}?threads=1")


def taken(arrays: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    """All rows; an array is only good until the next one."""
    return np.concatenate([array.copy() for array in arrays])


def test_one_array_for_each_chunk(scorer: Scorer) -> None:
    shapes = [array.shape for array in scorer.logits(CHUNKS, 12)]
    assert shapes == [(12, 1024)] * 5


def test_chunks_do_not_see_each_other(scorer: Scorer) -> None:
    together = taken(scorer.logits(CHUNKS, 12))
    alone = np.concatenate([taken(scorer.logits([chunk], 12)) for chunk in CHUNKS])
    assert together == pytest.approx(alone, abs=0.02)


def test_the_order_of_evaluation_changes_nothing_but_rounding(scorer: Scorer) -> None:
    whole = taken(scorer.logits(CHUNKS[:2], 12))
    assert taken(scorer.logits(CHUNKS[:2], 12, batch_tokens=1)) == pytest.approx(whole, abs=0.02)
    blocks = [array.copy() for array in scorer.logits(CHUNKS[:2], 12, block_bytes=5 * 4096)]
    assert [len(block) for block in blocks] == [5, 5, 2, 5, 5, 2]
    assert np.concatenate(blocks) == pytest.approx(whole, abs=0.02)


def test_a_logit_depends_on_what_was_read_and_not_on_what_follows(scorer: Scorer) -> None:
    chunk = CHUNKS[0]
    one, other = (taken(scorer.logits([ids], 0)) for ids in (chunk, [*chunk[:20], 5, 6, 7, 8]))
    assert one[:20] == pytest.approx(other[:20], abs=0.02)
    assert np.abs(one[20:] - other[20:]).max() > 0.1


def test_chunks_of_different_length_can_be_mixed(scorer: Scorer) -> None:
    lengths = [8, 8, 24, 5]
    chunks = [CHUNKS[n][:length] for n, length in enumerate(lengths)]
    assert [len(array) for array in scorer.logits(chunks, 4)] == [4, 4, 20, 1]


def test_special_tokens_are_not_read_out_of_a_text(scorer: Scorer) -> None:
    assert len(scorer.tokenize("<|im_end|>")) > 1
    assert scorer.first_token() is None


def test_a_reader_that_stops_early_disturbs_nobody(scorer: Scorer) -> None:
    arrays = scorer.logits(CHUNKS, 12)
    first = next(arrays).copy()
    assert next(scorer.logits(CHUNKS, 12)) == pytest.approx(first, abs=0.02)


@pytest.mark.parametrize(("chunk", "first"), [([1, 2], 2), ([1, 1024], 0), ([1, -1], 0)])
def test_what_cannot_be_scored_is_refused(scorer: Scorer, chunk: list[int], first: int) -> None:
    with pytest.raises(RequestRejected):
        next(scorer.logits([chunk], first))


def test_a_scorer_says_what_it_is(scorer: Scorer) -> None:
    facts = scorer.facts()
    assert facts.engine in {"llama-cpp", "mlx"}
    assert facts.build
    assert facts.architecture == "qwen3"
    assert len(scorer.pids()) == 1


@needs_mlx
@pytest.mark.slow
def test_both_engines_say_the_same_of_the_same_weights(launch: Launch) -> None:
    gguf, mlx = launch(f"llama-cpp:{MODEL}?threads=1"), launch(mlx_models.filled_in("mlx:FOLDER"))
    ids = gguf.tokenize(TEXT)
    assert mlx.tokenize(TEXT) == ids
    assert taken(gguf.logits([ids], 0)) == pytest.approx(taken(mlx.logits([ids], 0)), abs=0.05)


def test_the_type_of_the_cache_counts(launch: Launch) -> None:
    whole, short = (taken(launch(f"llama-cpp:{MODEL}?threads=1{kv}").logits(CHUNKS, 12)) for kv in ("", "&kv=q4_0"))
    assert np.abs(whole - short).max() > 0.05


@needs_mlx
@pytest.mark.slow
def test_a_quantised_cache_counts_from_the_first_token(launch: Launch, dense: Path) -> None:
    whole, short = (taken(launch(f"mlx:{dense}{kv}").logits(CHUNKS, 12)) for kv in ("", "?kv_bits=2&kv_group=32"))
    assert np.abs(whole - short).max() > 0.01


@pytest.mark.parametrize("write", [random_models.write_mamba, random_models.write_swa])
def test_states_and_windows_are_kept_apart_too(write: Callable[[Path], Path], tmp_path: Path) -> None:
    chunks = [[(7 * n + k) % 200 for n in range(96)] for k in range(3)]
    with closing(open_scorer(parse_target(f"llama-cpp:{write(tmp_path / 'm.gguf')}?threads=1"))) as scorer:
        together = taken(scorer.logits(chunks, 48))
        alone = np.concatenate([taken(scorer.logits([chunk], 48)) for chunk in chunks])
    assert together == pytest.approx(alone, abs=0.02)


def test_ctx_is_a_limit_where_it_is_given() -> None:
    with (
        closing(open_scorer(parse_target(f"llama-cpp:{MODEL}?threads=1&ctx=16"))) as scorer,
        pytest.raises(RequestRejected, match="ctx is 16"),
    ):
        next(scorer.logits(CHUNKS, 12))


def test_a_worker_that_dies_is_noticed_and_can_be_closed() -> None:
    scorer = open_scorer(parse_target(f"llama-cpp:{MODEL}?threads=1"))
    os.kill(scorer.pids()[0], signal.SIGKILL)
    with pytest.raises(EngineDied, match="SIGKILL"):
        next(scorer.logits(CHUNKS, 12))
    scorer.close()
    scorer.close()


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    data = Path(MODEL).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[: len(data) // 2])
    with pytest.raises((LaunchError, TargetError), match="cut"):
        open_scorer(parse_target(f"llama-cpp:{tmp_path / 'cut.gguf'}"))


def test_an_engine_without_logits_says_so() -> None:
    with pytest.raises(TargetError, match="gives no logits"):
        open_scorer(parse_target("scripted:"))


def test_llama_server_says_at_each_position_what_llama_cpp_says_of_a_batch(launch: Launch) -> None:
    server, library = launch(f"llama-server:{MODEL}?threads=1&ctx=512&slots=1"), launch(f"llama-cpp:{MODEL}?threads=1")
    assert server.tokenize(TEXT) == library.tokenize(TEXT)
    assert server.first_token() == library.first_token()
    # What is after `first` alone, in blocks or whole.
    said = taken(server.logits(CHUNKS[:2], 20))
    assert said.shape == (8, 1024)
    blocks = [len(block) for block in server.logits(CHUNKS[:1], 20, block_bytes=3 * 1024 * 4)]
    assert blocks == [3, 1]
    assert np.exp(said).sum(axis=1) == pytest.approx(np.ones(8), abs=1e-5)
    logits = taken(library.logits(CHUNKS[:2], 20)).astype(np.float64)
    exact = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    assert said == pytest.approx(exact, abs=0.02)
    with pytest.raises(RequestRejected, match="in no other way"):
        server.logits(CHUNKS[:1], 20, batch_tokens=1)


def test_llama_server_is_asked_of_a_file_alone() -> None:
    with pytest.raises(TargetError, match="model file"):
        open_scorer(parse_target("llama-server:http://127.0.0.1:1"))
