"""Model folders: what is read of them, and what is named where something is missing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from backends.base import ModelFileError, TargetError
from backends.workers.model_folder import read_folder, read_template


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "config.json", {"model_type": "qwen3", "max_position_embeddings": 4096, "torch_dtype": "bfloat16"})
    write(tmp_path / "tokenizer_config.json", {"chat_template": "one"})
    write(tmp_path / "tokenizer.json", {})
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    return tmp_path


def write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value))


def test_what_a_folder_says(folder: Path) -> None:
    read = read_folder(str(folder))
    assert (read.architecture, read.quant, read.context_tokens, read.template) == ("qwen3", "bfloat16", 4096, "one")
    assert read.template_sha256() == hashlib.sha256(b"one").hexdigest()
    assert read.template_sha256("two") == hashlib.sha256(b"two").hexdigest()


def test_a_quantised_model_and_one_inside_another(folder: Path) -> None:
    quantization = {"group_size": 64, "bits": 4, "mode": "affine"}
    text = {"max_position_embeddings": 262144}
    write(folder / "config.json", {"model_type": "gemma3", "quantization": quantization, "text_config": text})
    read = read_folder(str(folder))
    assert (read.quant, read.context_tokens) == ("4-bit affine g64", 262144)


def test_the_template_in_a_file_of_its_own_wins(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("own")
    assert read_folder(str(folder)).template == "own"


def test_what_is_not_said_is_none(folder: Path) -> None:
    write(folder / "config.json", {"model_type": "mamba"})
    (folder / "tokenizer_config.json").unlink()
    read = read_folder(str(folder))
    assert (read.quant, read.context_tokens, read.template, read.template_sha256()) == (None, None, None, None)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "has no tokenizer"),
        ("model-00001-of-00002.safetensors", "has no weights"),
    ],
)
def test_what_is_missing_is_named(folder: Path, missing: str, message: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelFileError, match=message) as caught:
        read_folder(str(folder))
    assert caught.value.hint


@pytest.mark.parametrize("content", ["{", "[]", '{"hidden_size": 1}', "\x00"])
def test_a_config_that_is_none_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelFileError):
        read_folder(str(folder))


def test_no_folder_at_all(folder: Path) -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        read_folder(str(folder / "nowhere"))
    with pytest.raises(ModelFileError, match="is a file"):
        read_folder(str(folder / "config.json"))


def test_a_template_that_cannot_be_read(folder: Path) -> None:
    assert read_template("") == ""
    with pytest.raises(TargetError, match="cannot be read"):
        read_template(str(folder / "none.jinja"))
