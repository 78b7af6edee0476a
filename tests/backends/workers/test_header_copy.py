"""Files that hold no more than a header, and what of them is a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.base import ModelFileError
from backends.gguf_header import read_header
from backends.workers.header_copy import plannable_file
from tests.tiny_model.templates import FOLDER

WHOLE = FOLDER / "tiny-f16.gguf"
DATA_START = read_header(WHOLE).data_start_bytes


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder


def test_a_whole_file_is_not_copied(copies: Path) -> None:
    assert plannable_file(str(WHOLE), copies) == WHOLE.absolute()
    assert not list(copies.iterdir())


@pytest.mark.parametrize("held", [DATA_START, DATA_START + 1000])
def test_a_header_becomes_as_long_as_the_model_without_its_data(held: int, tmp_path: Path, copies: Path) -> None:
    part = tmp_path / "part.gguf"
    part.write_bytes(WHOLE.read_bytes()[:held])
    copy = plannable_file(str(part), copies)
    assert read_header(copy).tensors == read_header(WHOLE).tensors
    assert copy.stat().st_size == WHOLE.stat().st_size
    assert copy.stat().st_blocks * 512 < DATA_START + (64 << 10)
    assert part.stat().st_size == held


@pytest.mark.parametrize("held", [10, 1000, DATA_START - 5000])
def test_a_header_that_is_cut_short_is_refused(held: int, tmp_path: Path, copies: Path) -> None:
    part = tmp_path / "part.gguf"
    part.write_bytes(WHOLE.read_bytes()[:held])
    with pytest.raises(ModelFileError, match=r"part\.gguf: cut short"):
        plannable_file(str(part), copies)


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (b"<html>", "web page")])
def test_other_files_are_refused(content: bytes, words: str, tmp_path: Path, copies: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(content)
    with pytest.raises(ModelFileError, match=words):
        plannable_file(str(other), copies)


def test_of_a_split_model_all_parts_must_be_there(tmp_path: Path, copies: Path) -> None:
    first = tmp_path / "m-00001-of-00002.gguf"
    first.write_bytes(WHOLE.read_bytes()[:DATA_START])
    with pytest.raises(ModelFileError, match=r"00002-of-00002\.gguf does not exist"):
        plannable_file(str(first), copies)


def test_of_a_split_model_whole_parts_are_linked(tmp_path: Path, copies: Path) -> None:
    first, second = (tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2))
    first.write_bytes(WHOLE.read_bytes()[:DATA_START])
    second.write_bytes(WHOLE.read_bytes())
    assert plannable_file(str(second), copies) == copies / first.name
    assert (copies / second.name).readlink() == second
