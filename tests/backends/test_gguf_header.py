"""A GGUF header is read exactly, and whatever else lies in the file is one clear `ModelFileError`."""

from __future__ import annotations

import os
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.base import ModelFileError
from backends.gguf_header import LongArray, Tensor, read_header

Pair = tuple[str, int, bytes]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def string(key: str, value: str) -> Pair:
    return key, 8, text(value)


def number(key: str, value: int) -> Pair:
    return key, 4, struct.pack("<I", value)


def array(key: str, item_type: int, items: list[bytes]) -> Pair:
    return key, 9, struct.pack("<IQ", item_type, len(items)) + b"".join(items)


def gguf(
    pairs: list[Pair],
    tensors: list[tuple[str, tuple[int, ...], int, int]] | None = None,
    data: bytes = b"",
    version: int = 3,
) -> bytes:
    rows = tensors or []
    body = b"GGUF" + struct.pack("<IQQ", version, len(rows), len(pairs))
    body += b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in pairs)
    for name, shape, kind, offset in rows:
        body += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    return body + b"\0" * (-len(body) % 32) + data if rows else body


PAIRS = [
    string("general.architecture", "qwen3"),
    string("general.name", "Tiny"),
    number("general.file_type", 15),
    number("qwen3.context_length", 32768),
    number("qwen3.block_count", 4),
    ("qwen3.rope.freq_base", 6, struct.pack("<f", 1e6)),
    ("tokenizer.ggml.add_bos_token", 7, b"\0"),
    string("tokenizer.chat_template", "{{ messages }}"),
    array("tokenizer.ggml.tokens", 8, [text(f"tok{i}") for i in range(2000)]),
    array("tokenizer.ggml.token_type", 5, [struct.pack("<i", 1)] * 2000),
    array("qwen3.rope.dimension_sections", 5, [struct.pack("<i", i) for i in range(4)]),
]
VALID = gguf(PAIRS, [("a.weight", (256, 2), 12, 0), ("b.weight", (8,), 0, 288)], b"\1" * 320)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def to_file(content: bytes, name: str = "m.gguf") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return to_file


def test_a_header_is_read(write: Any) -> None:
    header = read_header(write(VALID))
    assert (header.architecture, header.name, header.file_type) == ("qwen3", "Tiny", "Q4_K_M")
    assert (header.context_length, header.block_count, header.sliding_window) == (32768, 4, None)
    assert (header.chat_template, header.cache_kind) == ("{{ messages }}", "full")
    assert header.values["tokenizer.ggml.tokens"] == LongArray(8, 2000)
    assert header.values["tokenizer.ggml.token_type"] == LongArray(5, 2000)
    assert header.values["qwen3.rope.dimension_sections"] == (0, 1, 2, 3)
    assert header.values["tokenizer.ggml.add_bos_token"] is False
    assert header.tensors == (Tensor("a.weight", (256, 2), 12, 0), Tensor("b.weight", (8,), 0, 288))
    assert [tensor.size_bytes for tensor in header.tensors] == [288, 32]
    assert header.data_start_bytes + 320 == header.file_bytes == len(VALID)


def test_what_the_file_does_not_say_is_none(write: Any) -> None:
    header = read_header(write(gguf([])))
    said = (header.architecture, header.name, header.context_length, header.block_count, header.file_type)
    assert set(said) == {None}
    assert header.chat_template is None
    assert header.sliding_window is None
    assert header.cache_kind == "full"


@pytest.mark.parametrize(
    ("architecture", "window", "kind", "sliding_window"),
    [
        ("qwen3", None, "full", None),
        ("qwen3", 0, "full", None),
        ("gemma3", 1024, "sliding_window", 1024),
        ("gemma2", None, "sliding_window", 4096),
        ("phi3", 2047, "full", None),
        ("mamba", None, "recurrent", None),
        ("lfm2", None, "recurrent", None),
        ("qwen35moe", None, "recurrent", None),
        ("deepseek4", 128, "recurrent", 128),
    ],
)
def test_the_cache_kind_follows_the_architecture(
    write: Any, architecture: str, window: int | None, kind: str, sliding_window: int | None
) -> None:
    pairs = [string("general.architecture", architecture)]
    if window is not None:
        pairs.append(number(f"{architecture}.attention.sliding_window", window))
    header = read_header(write(gguf(pairs)))
    assert (header.cache_kind, header.sliding_window) == (kind, sliding_window)


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"", "empty", "again"),
        (b"PK\3\4 and so on, a zip", "PyTorch", "GGUF"),
        (struct.pack("<Q", 90) + b'{"__metadata__"', "safetensors", "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "LFS pointer", "git lfs pull"),
        (b"<!doctype html><html>", "web page", "file itself"),
        (b"tjgg\1\0\0\0", "before GGUF", "GGUF"),
        (b"some text", "begins with b'some'", "gguf"),
        (b"GGUF\0\0\0\3" + b"\0" * 16, "big-endian", "convert"),
        (b"GGUF\1\0\0\0" + b"\0" * 16, "version 1", "convert"),
        (b"GGUF\3\0\0\0" + b"\xff" * 16, "absurd counts", "again"),
        (VALID[:10], "cut short: the header", "resume"),
        (VALID[:20_000], "cut short: the header", "resume"),
        (VALID[:-1], f"has {len(VALID) - 1} bytes of {len(VALID)}", "resume"),
        (gguf([("k", 8, struct.pack("<Q", 2**60))]), "absurd string", "again"),
        (gguf([("k", 9, struct.pack("<IQ", 4, 2**60))]), "absurd arrays", "again"),
        (gguf([("k", 9, struct.pack("<IQ", 9, 2))]), "array of unknown type 9", "again"),
        (gguf([("k", 99, b"")]), "unknown value type 99", "again"),
        (gguf([number("k", 1), number("k", 2)]), "'k' stands twice", "again"),
        (gguf([number("general.alignment", 3)]), "power of two", "again"),
        (gguf([], [("t", (1, 1, 1, 1, 1), 0, 0)]), "5 dimensions", "again"),
        (gguf([], [("t", (2**62, 2**62), 0, 2**63)]), "cut short", "resume"),
    ],
)
def test_what_is_no_whole_model_is_named(write: Any, content: bytes, message: str, hint: str) -> None:
    path = write(content)
    with pytest.raises(ModelFileError) as caught:
        read_header(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_missing_file_names_its_neighbours(write: Any) -> None:
    path = write(VALID)
    with pytest.raises(ModelFileError, match="does not exist") as caught:
        read_header(path.with_name("other.gguf"))
    assert "m.gguf" in (caught.value.hint or "")
    with pytest.raises(ModelFileError, match="is a folder"):
        read_header(path.parent)
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_header("a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_header(tmp_path / "pipe")


@given(
    st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=8),
    st.one_of(st.just(len(VALID)), st.integers(0, len(VALID))),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_gives_a_header_or_a_model_file_error(write: Any, edits: list[tuple[int, int]], length: int) -> None:
    damaged = bytearray(VALID)
    for position, byte in edits:
        # Most edits fall into the first bytes, where the counts and lengths stand.
        damaged[position if position % 3 == 0 else position % 200] = byte
    path = write(bytes(damaged[:length]))
    tracemalloc.start()
    with suppress(ModelFileError):
        read_header(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2 * 2**20
