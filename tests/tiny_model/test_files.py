"""The shipped files are what their README says: metadata, sizes, and one set of weights in both formats."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.tiny_model import export
from tests.tiny_model.templates import FOLDER, STABLE, STRIP
from tests.tiny_model.tokenizer import CONTROL, VISIBLE, VOCABULARY, load_tokenizer

F16 = FOLDER / "tiny-f16.gguf"
QUANTS = [f"tiny-{name}.gguf" for name in ("f16", *export.QUANTS)]
MIB = 2**20


@pytest.fixture(scope="module")
def reader() -> gguf.GGUFReader:
    return gguf.GGUFReader(F16)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("general.architecture", "qwen3"),
        ("general.name", "dyno-tiny"),
        ("qwen3.context_length", 32768),
        ("qwen3.block_count", 4),
        ("qwen3.embedding_length", 256),
        ("qwen3.attention.head_count_kv", 2),
        ("qwen3.rope.freq_base", 1e6),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "qwen2"),
        ("tokenizer.ggml.eos_token_id", CONTROL.index("<|im_end|>")),
        ("tokenizer.ggml.add_bos_token", False),
        ("tokenizer.chat_template", STABLE.read_text()),
    ],
)
def test_the_header_says(reader: gguf.GGUFReader, key: str, value: object) -> None:
    assert reader.fields[key].contents() == value


def test_the_tokens_of_both_tokenizers_are_equal(reader: gguf.GGUFReader) -> None:
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    vocabulary = load_tokenizer(FOLDER / "tokenizer.json").get_vocab()
    assert tokens == sorted(vocabulary, key=vocabulary.__getitem__)
    assert len(tokens) == VOCABULARY


def test_markers_are_hidden_and_tags_are_visible(reader: gguf.GGUFReader) -> None:
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = dict(zip(tokens, reader.fields["tokenizer.ggml.token_type"].contents(), strict=True))
    assert {types[marker] for marker in CONTROL} == {gguf.TokenType.CONTROL}
    assert {types[tag] for tag in VISIBLE} == {gguf.TokenType.USER_DEFINED}


def test_the_files_are_small_and_shrink() -> None:
    sizes = [(FOLDER / name).stat().st_size for name in QUANTS]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 20 * MIB


def test_the_quants_keep_the_metadata(reader: gguf.GGUFReader) -> None:
    for name in QUANTS[1:]:
        fields = gguf.GGUFReader(FOLDER / name).fields
        for key in (
            "general.name",
            "qwen3.context_length",
            "tokenizer.chat_template",
            "tokenizer.ggml.tokens",
        ):
            assert fields[key].contents() == reader.fields[key].contents()


def test_the_folder_has_the_weights_of_the_gguf(tmp_path: Path, reader: gguf.GGUFReader) -> None:
    weights = load_file(export.write_hf_folder(F16, tmp_path / "folder") / "model.safetensors")
    assert len(weights) == len(reader.tensors) == len(export.TENSOR_NAMES)
    assert {tensor.dtype for tensor in weights.values()} == {np.dtype(np.float32)}
    assert weights["model.embed_tokens.weight"].shape == (VOCABULARY, export.HIDDEN)
    assert weights["model.layers.0.mlp.down_proj.weight"].shape == (export.HIDDEN, export.FEED_FORWARD)
    for tensor in reader.tensors:
        assert np.array_equal(weights[export.TENSOR_NAMES[tensor.name]].ravel(), np.asarray(tensor.data).ravel())


def test_a_gguf_from_the_folder_is_the_shipped_gguf(tmp_path: Path) -> None:
    folder = export.write_hf_folder(F16, tmp_path / "folder")
    again = export.write_gguf(folder / "model.safetensors", folder / "tokenizer.json", tmp_path / "again.gguf")
    assert again.read_bytes() == F16.read_bytes()


def test_the_folder_says_what_the_gguf_says(tmp_path: Path) -> None:
    folder = export.write_hf_folder(F16, tmp_path / "folder", template=STRIP)
    assert json.loads((folder / "config.json").read_text()) == export.CONFIG
    assert json.loads((folder / "tokenizer_config.json").read_text()) == export.tokenizer_settings(STRIP)
    assert json.loads((FOLDER / "tokenizer_config.json").read_text()) == export.tokenizer_settings(STABLE)
