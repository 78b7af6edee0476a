"""The generated models: equal every time, and accepted by the real server."""

from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from tests.tiny_model.architectures import WINDOW, write_hybrid, write_sliding_window
from tests.tiny_model.server import serving

WRITERS = [write_sliding_window, write_hybrid]
Writer = Callable[[Path], Path]


@pytest.mark.parametrize("write", WRITERS)
def test_writing_twice_gives_equal_bytes(write: Writer, tmp_path: Path) -> None:
    assert write(tmp_path / "a.gguf").read_bytes() == write(tmp_path / "b.gguf").read_bytes()


def test_the_window_and_the_recurrent_layers_are_declared(tmp_path: Path) -> None:
    sliding = gguf.GGUFReader(write_sliding_window(tmp_path / "sliding.gguf")).fields
    hybrid = gguf.GGUFReader(write_hybrid(tmp_path / "hybrid.gguf")).fields
    assert sliding["gemma3.attention.sliding_window"].contents() == WINDOW
    assert hybrid["lfm2.attention.head_count_kv"].contents() == [0, 1, 0, 1]
    for fields, architecture in ((sliding, "gemma3"), (hybrid, "lfm2")):
        assert fields[f"{architecture}.context_length"].contents() == 32768


@pytest.mark.engine
@pytest.mark.parametrize("write", WRITERS)
def test_the_server_loads_it_and_generates(write: Writer, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    with serving(write(tmp_path / "model.gguf")) as server:
        reply = server.complete("hello " * 200, tokens=8)
        assert reply["timings"]["predicted_n"] == 8
        again = server.complete("hello " * 200 + "world", tokens=8)
        assert again["timings"]["cache_n"] > 0
