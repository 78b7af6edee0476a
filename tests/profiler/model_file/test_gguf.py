"""A GGUF model is read from its headers alone: sizes from the tensors, active shares, split files, hostile ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.base import ModelFileError
from backends.gguf_header import read_header
from profiler.model_file import read_model
from profiler.model_file.base import ModelFile, TypeShare
from profiler.model_file.labels import doubts, label_in_name
from tests.backends.random_models import write_mamba, write_unknown
from tests.profiler.model_file.gguf_bytes import Row, Value, keys, write_gguf
from tests.tiny_model.architectures import WINDOW, write_hybrid, write_sliding_window

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny"
SMALL: dict[str, Value] = {
    "block_count": 2, "embedding_length": 64, "attention__head_count": 2, "attention__head_count_kv": 1,
    "context_length": 128, "vocab_size": 10,
}  # fmt: skip
F32, F16, Q8_0, Q4_K = 0, 1, 8, 12


def matrices(layers: int = 2, type_id: int = F16) -> list[Row]:
    rows: list[Row] = [("token_embd.weight", (64, 10), F16, 1280)]
    per = {F16: 2.0, Q8_0: 34 / 32, Q4_K: 144 / 256}[type_id]
    rows += [(f"blk.{il}.ffn_up.weight", (64, 256), type_id, int(64 * 256 * per)) for il in range(layers)]
    return rows


def small(path: Path, rows: list[Row] | None = None, /, **values: Value) -> Path:
    return write_gguf(path, keys("llama", **(SMALL | values)), matrices() if rows is None else rows)


def test_the_bundled_model() -> None:
    model = read_model(TINY / "tiny-q4_k_m.gguf")
    assert (model.architecture, model.container, model.label) == ("qwen3", "gguf", "Q4_K_M")
    assert model.types == (
        TypeShare("Q4_K", 24, 2_686_976, 1_511_424), TypeShare("Q6_K", 5, 720_896, 591_360),
        TypeShare("F32", 17, 2816, 11_264),
    )  # fmt: skip
    assert model.parameters == 2_686_976 + 720_896 + 2816
    assert model.tensor_bytes == 1_511_424 + 591_360 + 11_264 == model.active_bytes
    assert (model.context_tokens, model.vocabulary_tokens, model.embedding_values) == (32768, 1024, 256)
    assert (model.has_template, model.tied, model.experts, model.notes) == (True, True, None, ())
    assert model.layers is not None
    assert [(layer.kind, layer.key_values, layer.value_values) for layer in model.layers] == [
        ("attention", 128, 128)
    ] * 4
    assert model.bits_per_weight == pytest.approx(4.958, abs=0.001)


@pytest.mark.parametrize("name", ["tiny-f16.gguf", "tiny-q8_0.gguf", "tiny-q2_k.gguf"])
def test_parameters_do_not_depend_on_the_quant(name: str) -> None:
    model = read_model(TINY / name)
    assert model.parameters == 3_410_688
    assert (
        sum(model.layer_bytes or ()) + (model.embedding_bytes or 0)
        <= model.tensor_bytes
        <= (TINY / name).stat().st_size
    )
    assert model.notes == ()


def test_layers_of_other_kinds(tmp_path: Path) -> None:
    sliding = read_model(write_sliding_window(tmp_path / "s.gguf")).layers or ()
    assert [layer.window_tokens for layer in sliding] == [WINDOW] * 5 + [None]
    hybrid = read_model(write_hybrid(tmp_path / "h.gguf")).layers or ()
    assert [(layer.kind, layer.state_values) for layer in hybrid] == [("recurrent", 256), ("attention", 0)] * 2
    mamba = read_model(write_mamba(tmp_path / "m.gguf"))
    assert [layer.state_values for layer in mamba.layers or ()] == [3 * 128 + 16 * 128] * 2
    assert mamba.tied is False
    # The embedding is a table beside the output matrix: one row of 261 is read.
    assert mamba.active_bytes == mamba.tensor_bytes - 261 * 64 * 4 + 64 * 4


def test_an_unknown_architecture_keeps_its_sizes(tmp_path: Path) -> None:
    model = read_model(write_unknown(tmp_path / "u.gguf"))
    assert (model.layers, model.active_bytes, model.tied) == (None, None, None)
    assert "'dynosaur' keep is not known" in model.notes[0]
    assert model.tensor_bytes == 256


def test_experts_are_read_by_their_share(tmp_path: Path) -> None:
    rows: list[Row] = [
        ("token_embd.weight", (64, 10), F16, 1280), ("output.weight", (64, 10), F16, 1280),
        *((f"blk.{il}.ffn_up_exps.weight", (64, 32, 8), F16, 32768) for il in range(3)),
        *((f"blk.{il}.ffn_gate_inp.weight", (64, 8), F32, 2048) for il in range(3)),
    ]  # fmt: skip
    values: dict[str, Value] = {"block_count": 3, "expert_count": 8, "expert_used_count": 2, "nextn_predict_layers": 1}
    model = read_model(write_gguf(tmp_path / "m.gguf", keys("qwen3moe", **(SMALL | values)), rows))
    assert (model.experts, model.experts_used) == (8, 2)
    # One row of the table, the output, and of two layers a quarter of the experts; the third only predicts ahead.
    assert model.active_bytes == 128 + 1280 + 2 * (32768 // 4 + 2048)
    assert model.active_parameters == 64 + 640 + 2 * (64 * 32 * 2 + 512)
    assert model.tensor_bytes == 2 * 1280 + 3 * (32768 + 2048)


def test_a_type_that_is_not_known_is_sized_by_its_place(tmp_path: Path) -> None:
    rows = [*matrices(1), ("blk.1.ffn_up.weight", (64, 256), 77, 4096), ("blk.1.ffn_down.weight", (64, 8), F16, 1024)]
    model = read_model(small(tmp_path / "m.gguf", rows))
    assert TypeShare("type 77", 1, 16384, 4096) in model.types
    assert "type 77" in model.notes[-1]


@pytest.mark.parametrize(
    ("name", "file_type", "type_id", "said"),
    [
        ("m.gguf", 1, F16, None),
        ("m.gguf", 15, Q8_0, "the header's label says Q4_K_M, but Q8_0 holds 100 %"),
        ("m.gguf", 38, Q8_0, "the header's label says MXFP4_MOE, but Q8_0 holds 100 %"),
        ("Model-7B-Q8_0.gguf", 15, Q4_K, "the file's name says Q8_0, but Q4_K holds 100 %"),
        ("Model-7B-UD-Q4_K_XL.gguf", 15, Q4_K, None),
    ],
)  # fmt: skip
def test_a_label_that_the_tensors_contradict_is_noted(
    tmp_path: Path, name: str, file_type: int, type_id: int, said: str | None
) -> None:
    path = write_gguf(tmp_path / name, keys("llama", **SMALL) | {"general.file_type": file_type}, matrices(2, type_id))
    notes = read_model(path).notes
    assert [said] == [note[: len(said)] for note in notes] if said else notes == ()


def test_what_a_label_stands_for() -> None:
    assert doubts("Q4_K_M", "x.gguf", {"Q4_K": 80, "Q6_K": 20}) == ()
    assert doubts("IQ3_M", "x.gguf", {"IQ3_S": 80, "Q4_K": 20}) == ()
    assert len(doubts("Q4_K_M", "x-q8_0.gguf", {"Q5_0": 80, "Q8_0": 20})) == 2
    assert label_in_name("Qwen3-8B-Q4_K_M-00001-of-00002.gguf") == "Q4_K_M"
    assert label_in_name("from-F16-to-Q4_0.gguf") is label_in_name("model.gguf") is None


def split(folder: Path, count: int, **values: Value) -> list[Path]:
    """A model in so many parts; the first has the values and no tensors, as `gguf-split --no-tensor-first-split`."""
    rows = matrices(2 * count)
    head = keys("llama", **(SMALL | {"block_count": 2 * count})) | values
    paths: list[Path] = []
    for number in range(count):
        own = rows[number * 3 : (number + 1) * 3] if number < count - 1 else rows[number * 3 :]
        told: dict[str, Value] = {"split.no": number, "split.count": count, "split.tensors.count": len(rows)}
        path = folder / f"m-{number + 1:05}-of-{count:05}.gguf"
        paths.append(write_gguf(path, (head if number == 0 else {}) | told, own))
    return paths


@pytest.mark.parametrize("named", [0, 1, 2])
def test_all_parts_of_a_split_model_are_summed(tmp_path: Path, named: int) -> None:
    parts = split(tmp_path, 3)
    model = read_model(parts[named])
    assert model.files == tuple(parts)
    assert model.path == parts[0]
    assert model.tensor_bytes == 1280 + 6 * 64 * 256 * 2
    assert len(model.layers or ()) == 6
    assert read_model(tmp_path) == model


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    parts = split(tmp_path, 3)
    parts[1].unlink()
    with pytest.raises(ModelFileError, match=r"part m-00002-of-00003.gguf of 3 is missing") as caught:
        read_model(parts[0])
    assert "download" in (caught.value.hint or "")
    parts[0].unlink()
    with pytest.raises(ModelFileError, match=r"m-00001-of-00003.gguf and 1 more of 3 is missing"):
        read_model(parts[2])


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    parts = split(tmp_path, 2)
    whole = parts[0].rename(tmp_path / "m.gguf")
    with pytest.raises(ModelFileError, match="one of 2 parts of a split model, by its header"):
        read_model(whole)
    whole.rename(parts[0])
    small(parts[1], [("blk.0.ffn_up.weight", (64, 256), F16, 32768)], split__no=1)
    with pytest.raises(ModelFileError, match="different tensors"):
        read_model(parts[0])
    with pytest.raises(ModelFileError, match="cannot be part 3 of 2"):
        read_model(tmp_path / "m-00003-of-00002.gguf")


def test_what_is_no_model(tmp_path: Path) -> None:
    cases: list[tuple[Callable[[], Path], str]] = [
        (lambda: write_gguf(tmp_path / "a.gguf", {"general.architecture": "clip"}, matrices()), "image encoder"),
        (lambda: write_gguf(tmp_path / "b.gguf", keys("llama") | {"general.type": "adapter"}, matrices()), "LoRA"),
        (lambda: write_gguf(tmp_path / "c.gguf", keys("llama")), "no weights"),
        (lambda: tmp_path / "absent.gguf", "does not exist"),
        (lambda: tmp_path / "model.safetensors", "one file of a model folder"),
    ]
    for make, message in cases:
        with pytest.raises(ModelFileError, match=message) as caught:
            read_model(make())
        assert caught.value.hint


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="holds no model"):
        read_model(tmp_path)
    only = small(tmp_path / "a.gguf")
    assert read_model(tmp_path) == read_model(only)
    small(tmp_path / "b.gguf")
    with pytest.raises(ModelFileError, match=r"2 models \(a.gguf, b.gguf\)"):
        read_model(tmp_path)


def test_a_large_vocabulary_is_not_kept(tmp_path: Path) -> None:
    words = [f"token{number:06}" for number in range(150_000)]
    path = small(tmp_path / "large.gguf", vocab_size=150_000)
    values: dict[str, Value] = {"tokenizer.ggml.tokens": words, "tokenizer.ggml.merges": [f"{w} x" for w in words]}
    write_gguf(path, keys("llama", **SMALL) | values, matrices())
    assert read_model(path).vocabulary_tokens == 150_000
    kept_bytes = sum(len(repr(value)) for value in read_header(path).values.values())
    assert kept_bytes * 1000 < path.stat().st_size


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=8), st.floats(0, 1), st.integers(0, 3))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_gives_a_model_or_one_clear_error(
    tmp_path: Path, edits: list[tuple[int, int]], kept: float, cut: int
) -> None:
    path = tmp_path / "m.gguf"
    whole = small(path, matrices()).read_bytes()
    damaged = bytearray(whole)
    for place, byte in edits:
        damaged[place % len(damaged)] = byte
    path.write_bytes(bytes(damaged if cut else damaged[: int(len(damaged) * kept)]))
    found = read(path)
    if isinstance(found, ModelFile):
        consistent(found)
    else:
        assert "\n" not in str(found)
        assert found.hint


@given(
    st.dictionaries(
        st.sampled_from(
            ["block_count", "expert_count", "expert_used_count", "embedding_length", "attention__head_count",
             "attention__head_count_kv", "nextn_predict_layers", "feed_forward_length", "context_length"]
        ),
        st.one_of(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=3), st.text(max_size=3)),
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_absurd_values_give_a_consistent_model(tmp_path: Path, values: dict[str, Value]) -> None:
    consistent(read_model(small(tmp_path / "m.gguf", **values)))


def read(path: Path) -> ModelFile | ModelFileError:
    try:
        return read_model(path)
    except ModelFileError as error:
        return error


def consistent(model: ModelFile) -> None:
    assert sum(share.bytes for share in model.types) == model.tensor_bytes
    assert sum(share.parameters for share in model.types) == model.parameters > 0
    assert model.layers is not None or any("cannot be told" in note for note in model.notes)
    if model.layers is not None:
        assert model.layer_bytes is None or len(model.layer_bytes) == len(model.layers)
    for count in (model.context_tokens, model.experts, model.vocabulary_tokens):
        assert count is None or count >= 0


def test_the_hand_made_files_are_gguf(tmp_path: Path) -> None:
    assert struct.unpack("<4sI", small(tmp_path / "m.gguf").read_bytes()[:8]) == (b"GGUF", 3)
