"""Models on a made disk: every kind, parts, links, Ollama's names; what is broken or unreadable is listed."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends import parse_target
from backends.discovery.model_files import FoundModel, Search, find_models
from backends.discovery.places import Place

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny" / "tiny-q2_k.gguf"
SIZE = TINY.stat().st_size


def standing() -> int:
    return 0


def search(folder: Path, keeper: Any = "given", **bounds: int) -> Search:
    return find_models([Place(keeper, folder)], clock=standing, **bounds)


def only(folder: Path, keeper: Any = "given") -> FoundModel:
    (model,) = search(folder, keeper).models
    return model


def gguf(*pairs: tuple[str, Any]) -> bytes:
    """A GGUF file without tensors."""
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    for key, value in pairs:
        data += struct.pack("<Q", len(key)) + key.encode()
        if isinstance(value, str):
            data += struct.pack("<IQ", 8, len(value)) + value.encode()
        else:
            data += struct.pack("<II", 4, value)
    return data


def safetensors(metadata: dict[str, str] | None = None, stored: int = 8, said: int = 8) -> bytes:
    header: dict[str, Any] = {"w": {"dtype": "F32", "shape": [said // 4], "data_offsets": [0, said]}}
    if metadata is not None:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * stored


def folder_model(folder: Path, config: dict[str, Any], *weights: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "max_position_embeddings": 4096, **config}))
    (folder / "tokenizer.json").write_text("{}")
    for number, data in enumerate(weights, 1):
        name = f"model-{number:05d}-of-{len(weights):05d}.safetensors" if len(weights) > 1 else "model.safetensors"
        (folder / name).write_bytes(data)
    return folder


def test_a_gguf_file(tmp_path: Path) -> None:
    path = tmp_path / "owner" / "repository" / "Tiny-Q2_K.gguf"
    path.parent.mkdir(parents=True)
    shutil.copy(TINY, path)
    assert only(tmp_path, "LM Studio") == FoundModel(
        name="Tiny-Q2_K.gguf",
        kind="GGUF",
        keeper="LM Studio",
        path=str(path),
        size_bytes=SIZE,
        architecture="qwen3",
        quant="Q2_K",
        context_tokens=32768,
        target=f"llama-server:{path}",
    )
    assert parse_target(f"llama-server:{path}").model == str(path)


def test_parts_are_one_model(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        shutil.copy(TINY, tmp_path / f"m-{number:05d}-of-00003.gguf")
    model = only(tmp_path)
    assert (model.name, model.files, model.size_bytes) == ("m.gguf", 3, 3 * SIZE)
    assert model.path.endswith("m-00001-of-00003.gguf")
    assert model.fault is None
    (tmp_path / "m-00002-of-00003.gguf").unlink()
    assert (only(tmp_path).fault, only(tmp_path).target) == ("2 of 3 parts are here", None)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "the file is empty"),
        (TINY.read_bytes()[:1000], "cut short: the header goes on after the file's 1000 bytes"),
        (TINY.read_bytes()[:-1000], f"cut short: the file has {SIZE - 1000} bytes of"),
        (b"version https://git-lfs.github.com/spec/v1\n", "this is a Git LFS pointer, not the model"),
        (gguf(("general.architecture", "clip")), "an image encoder (mmproj), not a model"),
        (gguf(("general.architecture", "llama"), ("general.type", "adapter")), "a LoRA adapter, not a model"),
        (gguf(("general.type", "imatrix")), "an importance matrix, not a model"),
    ],
)
def test_what_is_no_use_is_listed_with_its_fault(tmp_path: Path, data: bytes, fault: str) -> None:
    (tmp_path / "broken.gguf").write_bytes(data)
    model = only(tmp_path)
    assert model.fault is not None
    assert model.fault.startswith(fault)
    assert str(tmp_path) not in model.fault
    assert model.target is None


@pytest.mark.parametrize(
    ("config", "metadata", "kind", "quant"),
    [
        ({"quantization": {"bits": 4, "group_size": 64}}, {"format": "mlx"}, "MLX", "4-bit affine g64"),
        ({"quantization": {"bits": 4, "group_size": 64}}, None, "MLX", "4-bit affine g64"),
        ({"torch_dtype": "bfloat16"}, {"format": "mlx"}, "MLX", "bfloat16"),
        ({"torch_dtype": "bfloat16"}, {"format": "pt"}, "safetensors", "bfloat16"),
    ],
)
def test_a_folder(
    tmp_path: Path, config: dict[str, Any], metadata: dict[str, str] | None, kind: str, quant: str
) -> None:
    folder = folder_model(tmp_path / "owner" / "name", config, safetensors(metadata), safetensors(metadata))
    model = only(tmp_path, "LM Studio")
    assert (model.kind, model.quant, model.name, model.files) == (kind, quant, "owner/name", 2)
    assert (model.architecture, model.context_tokens) == ("qwen3", 4096)
    assert (model.target, model.fault) == (f"mlx:{folder}", None)


def test_a_folder_with_faults(tmp_path: Path) -> None:
    folder_model(tmp_path / "cut", {}, safetensors(stored=4))
    folder_model(tmp_path / "junk", {}, b"\xff" * 20)
    folder_model(tmp_path / "untyped", {"model_type": None}, safetensors())
    partial = folder_model(tmp_path / "partial", {}, safetensors())
    (partial / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-2.safetensors"}}')
    faults = {model.name: model.fault for model in search(tmp_path).models}
    assert faults == {
        "cut": f"model.safetensors is cut short: {len(safetensors(stored=4))} bytes of {len(safetensors())}",
        "junk": "model.safetensors is no safetensors file, or cut short",
        "untyped": "config.json has no model_type",
        "partial": "1 of its weight files are missing",
    }
    assert not any(model.target for model in search(tmp_path).models)


def test_a_hugging_face_store_counts_each_blob_once(tmp_path: Path) -> None:
    store = tmp_path / "models--owner--some--name"
    (store / "blobs").mkdir(parents=True)
    shutil.copy(TINY, store / "blobs" / "abc")
    (store / "blobs" / "def").write_bytes(safetensors())
    (store / "blobs" / "def.incomplete").write_bytes(b"")
    for revision in ("r1", "r2"):
        snapshot = store / "snapshots" / revision
        snapshot.mkdir(parents=True)
        (snapshot / "m.gguf").symlink_to("../../blobs/abc")
        (snapshot / "model.safetensors").symlink_to("../../blobs/def")
        (snapshot / "config.json").write_text('{"model_type": "bert"}')
        (snapshot / "tokenizer.json").write_text("{}")
    models = search(tmp_path, "Hugging Face").models
    assert [(m.name, m.size_bytes) for m in models] == [("m.gguf", SIZE), ("owner/some/name", len(safetensors()))]


def test_links_in_circles_and_to_nowhere_end(tmp_path: Path) -> None:
    shutil.copy(TINY, tmp_path / "m.gguf")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "gone.gguf").symlink_to(tmp_path / "nowhere")
    os.link(tmp_path / "m.gguf", tmp_path / "same.gguf")
    assert len(search(tmp_path).models) == 1


def ollama_store(folder: Path) -> None:
    def manifest(*place: str, digest: str) -> None:
        file = folder.joinpath("manifests", *place)
        file.parent.mkdir(parents=True, exist_ok=True)
        layers = [
            {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:77", "size": 3},
            {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": SIZE},
        ]
        file.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))

    (folder / "blobs").mkdir(parents=True)
    shutil.copy(TINY, folder / "blobs" / "sha256-11")
    (folder / "blobs" / "sha256-77").write_text("abc")
    manifest("registry.ollama.ai", "library", "qwen3", "8b", digest="11")
    manifest("registry.ollama.ai", "library", "qwen3", "latest", digest="11")
    manifest("registry.ollama.ai", "somebody", "tuned", "q4", digest="22")
    manifest("hf.co", "owner", "repository", "Q4_K_M", digest="33")


@pytest.mark.parametrize("keeper", ["Ollama", "given"])
def test_ollamas_models_have_their_names(tmp_path: Path, keeper: Any) -> None:
    ollama_store(tmp_path)
    (tmp_path / "manifests" / "broken").write_text("{")
    models = search(tmp_path, keeper).models
    assert [(m.name, m.size_bytes, m.fault) for m in models] == [
        ("qwen3:8b", SIZE, None),
        ("hf.co/owner/repository:Q4_K_M", 0, "its data (blob) is not here"),
        ("somebody/tuned:q4", 0, "its data (blob) is not here"),
    ]
    assert models[0].architecture == "qwen3"
    assert models[0].target == f"llama-server:{tmp_path / 'blobs' / 'sha256-11'}"


def test_places_that_overlap_do_not_count_twice(tmp_path: Path) -> None:
    shutil.copy(TINY, tmp_path / "m.gguf")
    twice = find_models([Place("given", tmp_path), Place("LM Studio", tmp_path)], clock=standing)
    assert [(m.name, m.keeper) for m in twice.models] == [("m.gguf", "given")]
    assert [(place.keeper, place.models) for place in twice.places] == [("given", 1), ("LM Studio", 0)]


def test_a_folder_that_is_not_there_is_noted(tmp_path: Path) -> None:
    found = search(tmp_path / "missing")
    assert (found.models, len(found.notes)) == ((), 1)
    assert "missing (No such file or directory)" in found.notes[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir(mode=0)
    shutil.copy(TINY, tmp_path / "locked.gguf")
    (tmp_path / "locked.gguf").chmod(0)
    found = search(tmp_path)
    (note,) = found.notes
    assert "Permission denied" in note
    assert "and 1 more" in note
    assert [model.fault for model in found.models] == ["cannot be read: [Errno 13] Permission denied"]


def test_a_search_is_bounded_in_entries(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02d}.txt").write_text("")
    assert search(tmp_path, most_entries=30).notes == ()
    (note,) = search(tmp_path, most_entries=29).notes
    assert note.endswith("has too many entries: not all of it was looked at")


def test_reading_is_bounded_in_time(tmp_path: Path) -> None:
    for number in range(4):
        shutil.copy(TINY, tmp_path / f"{number}.gguf")
    ticks: Iterator[int] = iter(range(100))
    found = find_models([Place("given", tmp_path)], clock=lambda: next(ticks), budget_ns=3)
    assert [model.architecture for model in found.models] == ["qwen3", "qwen3", None, None]
    assert [model.fault for model in found.models[2:]] == ["header not read"] * 2
    assert all(model.target for model in found.models)
    assert found.notes == ("the headers of 2 models were not read: that would take more than 0 s",)


def test_a_path_that_no_target_can_hold(tmp_path: Path) -> None:
    shutil.copy(TINY, tmp_path / "what?.gguf")
    assert only(tmp_path).target is None
