from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from profiler.quality import reference_file
from profiler.quality.divergence import score
from profiler.quality.errors import QualityError
from profiler.quality.reference_file import Key, Reference

KEY = Key("m.gguf", 10, "ab", "llama-cpp", "1", {"kv": "f16"}, "cd", chunks=2, chunk_tokens=8, scored_tokens=3)


def rows(seed: int, count: int = 3, vocabulary: int = 300) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).normal(size=(count, vocabulary)) * 4).astype(np.float32)


def written(folder: Path) -> Reference:
    return reference_file.write(folder / "r", KEY, [(0, rows(0, 2)), (0, rows(1, 1)), (1, rows(2))])


def test_what_was_written_is_read_block_by_block(tmp_path: Path) -> None:
    reference = written(tmp_path)
    assert reference.header.key == KEY
    assert [block.shape for block in reference.blocks(0)] == [(2, 300), (1, 300)]
    (block,) = reference.blocks(1)
    assert block.dtype == np.float32
    exact = rows(2).astype(np.float64)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    # Half precision keeps eleven bits.
    assert block == pytest.approx(exact, rel=2**-11)


def test_a_reference_says_what_its_own_file_costs(tmp_path: Path) -> None:
    reference = written(tmp_path)
    blocks = [*reference.blocks(0), *reference.blocks(1)]
    exact = np.concatenate([rows(0, 2), rows(1, 1), rows(2)])
    own = score(np.concatenate(blocks), exact, np.zeros(6, np.int64)).kld
    assert reference.footer.own_kld == pytest.approx(own.mean())
    assert 0 < reference.footer.own_kld < 1e-5


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.1, 30))
def test_the_files_error_is_small_for_sharp_and_for_flat_distributions(seed: int, scale: float) -> None:
    logits = (np.random.default_rng(seed).normal(size=(4, 500)) * scale).astype(np.float32)
    halves = reference_file._halves(logits).astype(np.float32)
    assert score(logits, halves, np.zeros(4, np.int64)).kld.max() < 1e-5


def test_impossible_tokens_stay_impossible(tmp_path: Path) -> None:
    logits = rows(0)
    logits[:, 7] = -np.inf
    (block,) = reference_file.write(tmp_path / "r", msgspec.structs.replace(KEY, chunks=1), [(0, logits)]).blocks(0)
    assert (block[:, 7] == -np.inf).all()


def test_only_the_same_is_used_again(tmp_path: Path) -> None:
    reference_file.write(tmp_path / KEY.file_name, KEY, [(0, rows(0)), (1, rows(1))])
    assert reference_file.kept(tmp_path, KEY) is not None
    assert reference_file.kept(tmp_path, msgspec.structs.replace(KEY, settings={"kv": "q8_0"})) is None
    (tmp_path / KEY.file_name).rename(tmp_path / msgspec.structs.replace(KEY, build="2").file_name)
    assert reference_file.kept(tmp_path, msgspec.structs.replace(KEY, build="2")) is None


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path).file.read_bytes()
    for size in range(0, len(data), 97):
        (tmp_path / "cut").write_bytes(data[:size])
        with pytest.raises(QualityError, match="cut"):
            Reference(tmp_path / "cut")


def test_a_damaged_block_is_refused(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path).file.read_bytes())
    place = data.index(b"\n") + 200
    data[place] ^= 0xFF
    (tmp_path / "bad").write_bytes(data)
    reference = Reference(tmp_path / "bad")
    with pytest.raises(QualityError, match="damaged"):
        list(reference.blocks(0))


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path).file.read_bytes()
    (tmp_path / "new").write_bytes(data.replace(b'"schema":1', b'"schema":2', 1))
    with pytest.raises(QualityError, match="newer"):
        Reference(tmp_path / "new")


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path) -> None:
    def failing() -> object:
        yield 0, rows(0)
        raise QualityError("the engine died")

    with pytest.raises(QualityError, match="died"):
        reference_file.write(tmp_path / "r", KEY, failing())  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_models_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    for name, data in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        (tmp_path / name).write_bytes(data)
    a, b, c = (reference_file.digest([tmp_path / name]) for name in "abc")
    assert a == c
    assert a[0] == b[0] == 3
    assert a != b


def test_large_models_are_told_apart_without_reading_all(tmp_path: Path) -> None:
    size = 65 * 2**20
    for name in "ab":
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
            file.seek(size // 2 if name == "a" else size - 10)
            file.write(name.encode() * (size // 60 if name == "a" else 10))
    (_, a), (_, b) = (reference_file.digest([tmp_path / name]) for name in "ab")
    assert a != b
