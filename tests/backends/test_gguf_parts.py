"""Parts of split models by name; and long arrays of texts are passed exactly, however they fall on the blocks read."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.base import ModelFileError
from backends.gguf_header import LongArray, part_of, part_paths, read_header
from backends.gguf_header.reader import MAX_KEPT_ITEMS


def test_names_of_parts() -> None:
    assert part_of("m-00002-of-00003.gguf") == ("m", 2, 3)
    assert part_of("a-00001-of-00002-00009-of-00010.GGUF") == ("a-00001-of-00002", 9, 10)
    assert part_of("m.gguf") is part_of("m-2-of-3.gguf") is part_of("m-00002-of-00003.bin") is None


def test_paths_of_all_parts() -> None:
    assert part_paths(Path("x/m-00002-of-00003.gguf")) == tuple(Path(f"x/m-0000{n}-of-00003.gguf") for n in (1, 2, 3))
    assert part_paths(Path("x/m.gguf")) == (Path("x/m.gguf"),)


def header(lengths: list[int]) -> bytes:
    texts = b"".join(struct.pack("<Q", length) + b"x" * length for length in lengths)
    body = b"GGUF" + struct.pack("<IQQ", 3, 0, 2)
    body += struct.pack("<Q1sIIQ", 1, b"a", 9, 8, len(lengths)) + texts
    return body + struct.pack("<Q1sII", 1, b"b", 4, 4711)


@given(
    st.lists(st.one_of(st.integers(0, 40), st.sampled_from([65_519, 65_528, 65_536, 200_000])), max_size=6),
    st.integers(0, 5),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_follows_a_long_array_is_read(tmp_path: Path, lengths: list[int], cut: int) -> None:
    path = tmp_path / "m.gguf"
    whole = header([*lengths, *[7] * MAX_KEPT_ITEMS, *lengths])
    path.write_bytes(whole[: len(whole) - cut])
    if cut:
        with pytest.raises(ModelFileError, match="cut short"):
            read_header(path)
    else:
        count = MAX_KEPT_ITEMS + 2 * len(lengths)
        values = read_header(path).values
        assert values["b"] == 4711
        assert values["a"] == (LongArray(8, count) if lengths else ("x" * 7,) * count)


@pytest.mark.parametrize("length", [2**60, 2**64 - 1, 10_000])
def test_a_text_that_passes_the_end_of_the_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "m.gguf"
    whole = header([7] * 2000)
    path.write_bytes(whole[:5000] + struct.pack("<Q", length) * 800)
    with pytest.raises(ModelFileError, match="cut short"):
        read_header(path)
