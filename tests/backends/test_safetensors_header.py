"""A safetensors header is read exactly; an index names what is missing."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.base import ModelFileError
from backends.safetensors_header import INDEX, StoredTensor, missing_files, read_safetensors
from tests.profiler.model_file.safetensors_bytes import write_safetensors


def test_a_header_is_read(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "model.safetensors", {"a.weight": ("F16", (3, 4)), "b": ("U32", ())})
    header = read_safetensors(file)
    assert header.tensors == {"a.weight": StoredTensor("F16", (3, 4), 24), "b": StoredTensor("U32", (), 4)}
    assert header.metadata == {"format": "mlx"}
    assert [tensor.elements for tensor in header.tensors.values()] == [12, 1]


def test_the_index_names_what_is_missing(tmp_path: Path) -> None:
    assert missing_files(tmp_path) == ()
    write_safetensors(tmp_path / "model-1.safetensors", {})
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": 3}}')
    assert missing_files(tmp_path) == ("3", "model-2.safetensors")
    (tmp_path / INDEX).write_text("[]")
    assert missing_files(tmp_path) == ()


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_gives_a_header_or_one_clear_error(tmp_path: Path, tail: bytes, place: int, byte: int) -> None:
    file = write_safetensors(tmp_path / "m.safetensors", {"a": ("F16", (3, 4)), "b": ("F32", (2,))})
    content = bytearray(file.read_bytes())
    content[place % len(content)] = byte
    file.write_bytes(bytes(content[: len(content) - len(tail)]) + tail)
    try:
        read_safetensors(file)
    except ModelFileError as error:
        text, hint = str(error), error.hint
    else:
        text, hint = "read", "read"
    assert "\n" not in text
    assert hint
