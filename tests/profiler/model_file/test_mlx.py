"""An MLX folder is read from its JSON headers alone: matrices from their shapes, layers as mlx-lm caches them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.base import ModelFileError
from profiler.model_file import read_model
from profiler.model_file.base import Layer, NotToldError
from profiler.model_file.mlx_layers import layers_of
from tests.backends.mlx_models import write_dense, write_hybrid, write_sliding_window, write_tiny
from tests.profiler.model_file.safetensors_bytes import Tensors, affine, floating, write_folder, write_safetensors

WIDTH, INNER = 256, 512
CONFIG: dict[str, Any] = {
    "model_type": "qwen3", "num_hidden_layers": 1, "hidden_size": WIDTH, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 1000, "max_position_embeddings": 4096,
}  # fmt: skip


def named(**matrices: Tensors) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {f"{name.replace('__', '.')}.{part}": row for name, own in matrices.items() for part, row in own.items()}


def test_the_bundled_model_as_a_folder(tmp_path: Path) -> None:
    model = read_model(write_tiny(tmp_path / "tiny"))
    assert (model.container, model.architecture, model.label, model.tied) == ("mlx", "qwen3", "float32", True)
    assert [(share.type, share.parameters, share.bytes) for share in model.types] == [("F32", 3_410_688, 13_642_752)]
    assert model.layers == (Layer("attention", 128, 128),) * 4
    assert (model.context_tokens, model.vocabulary_tokens, model.has_template) == (32768, 1024, True)


@pytest.mark.parametrize(
    ("write", "kinds"),
    [
        (write_dense, "attention attention"),
        (write_sliding_window, "sliding_window " * 5 + "attention"),
        (write_hybrid, "recurrent attention recurrent attention"),
    ],
)
def test_kinds_of_layers(tmp_path: Path, write: Callable[[Path], Path], kinds: str) -> None:
    assert [layer.kind for layer in read_model(write(tmp_path / "m")).layers or ()] == kinds.split()


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_bits_and_group_follow_from_the_shapes(tmp_path: Path, bits: int, group: int) -> None:
    """4-bit in groups of 64, 8-bit of 32 and 2-bit of 128 have the same ratio of words to scales; config lies."""
    config = CONFIG | {"quantization": {"bits": 4, "group_size": 64}}
    layer = "model__layers__0__"
    tensors = named(
        **{
            "model__embed_tokens": affine(1000, WIDTH, bits, group),
            f"{layer}self_attn__q_proj": affine(WIDTH, WIDTH, bits, group),
            f"{layer}mlp__up_proj": affine(INNER, WIDTH, bits, group),
            f"{layer}mlp__down_proj": affine(WIDTH, INNER, bits, group),
            f"{layer}self_attn__o_proj": affine(WIDTH, WIDTH, bits, group),
        }
    )
    model = read_model(write_folder(tmp_path / "m", config, tensors))
    parameters = 1000 * WIDTH + 2 * WIDTH * WIDTH + 2 * INNER * WIDTH
    assert [(share.type, share.tensors, share.parameters) for share in model.types] == [
        (f"affine {bits}-bit g{group}", 5, parameters)
    ]
    assert model.tensor_bytes == parameters * bits // 8 + parameters // group * 4
    assert bool(model.notes) == ((bits, group) != (4, 64))
    assert not [note for note in model.notes if "allow several" in note]


@pytest.mark.parametrize(("mode", "bits", "group"), [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)])
def test_floating_point_blocks(tmp_path: Path, mode: str, bits: int, group: int) -> None:
    config = CONFIG | {"quantization": {"bits": bits, "group_size": group, "mode": mode}}
    model = read_model(write_folder(tmp_path / "m", config, named(lm_head=floating(1000, WIDTH, bits, group))))
    assert [(share.type, share.parameters) for share in model.types] == [(mode, 256_000)]
    assert (model.label, model.notes, model.tied) == (mode, (), False)


def test_overrides_for_single_layers(tmp_path: Path) -> None:
    quantization = {"bits": 4, "group_size": 64, "lm_head": {"bits": 6, "group_size": 64}}
    tensors = named(lm_head=affine(1000, WIDTH, 6, 64), model__layers__0__mlp__up_proj=affine(INNER, WIDTH, 4, 64))
    model = read_model(write_folder(tmp_path / "m", CONFIG | {"quantization": quantization}, tensors))
    assert {share.type for share in model.types} == {"affine 6-bit g64", "affine 4-bit g64"}
    assert not [note for note in model.notes if "wrong" in note]
    quantization["lm_head"] = {"bits": 8, "group_size": 64}
    (tmp_path / "m" / "config.json").write_text(json.dumps(CONFIG | {"quantization": quantization}))
    assert "wrong about 1 matrices: lm_head (8-bit g64, stored 6-bit g64)" in read_model(tmp_path / "m").notes[0]


def test_experts_and_tables_are_read_by_their_share(tmp_path: Path) -> None:
    config = CONFIG | {"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2}
    tensors = named(
        model__embed_tokens={"weight": ("F16", (1000, WIDTH))}, lm_head={"weight": ("F16", (1000, WIDTH))},
        model__layers__0__mlp__switch_mlp__up_proj=affine(INNER, WIDTH, 4, 64, experts=8),
        model__layers__0__mlp__shared_experts__up_proj={"weight": ("F16", (INNER, WIDTH))},
    )  # fmt: skip
    model = read_model(write_folder(tmp_path / "m", config, tensors))
    expert = INNER * WIDTH // 2 + INNER * WIDTH // 64 * 4
    assert model.tensor_bytes == 2 * 512_000 + 8 * expert + INNER * WIDTH * 2
    assert model.active_bytes == 512 + 512_000 + 2 * expert + INNER * WIDTH * 2
    assert model.active_parameters == 256 + 256_000 + 3 * INNER * WIDTH
    assert (model.experts, model.experts_used) == (8, 2)


def test_parts_that_mlx_lm_leaves_out_are_noted(tmp_path: Path) -> None:
    text = CONFIG | {"model_type": "qwen3_vl_text"}
    config = {"model_type": "qwen3_vl", "text_config": text}
    tensors = named(
        language_model__model__layers__0__self_attn__k_proj={"weight": ("BF16", (192, WIDTH))},
        vision_tower__blocks__0__proj={"weight": ("BF16", (64, 64))},
    )  # fmt: skip
    model = read_model(write_folder(tmp_path / "m", config, tensors))
    assert model.layers == (Layer("attention", 192, 192),)
    assert model.active_bytes == 192 * WIDTH * 2
    assert "8192 bytes are of parts for pictures" in model.notes[-1]


@pytest.mark.parametrize(
    ("model_type", "config", "expected"),
    [
        ("deepseek_v3", {"kv_lora_rank": 512, "qk_rope_head_dim": 64}, [Layer("mla", 512, 64)] * 4),
        (
            "deepseek_v2",
            {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128},
            [Layer("attention", 768, 512)] * 4,
        ),
        (
            "gpt_oss",
            {"sliding_window": 128},
            [Layer("sliding_window", 128, 128, window_tokens=128), Layer("attention", 128, 128)] * 2,
        ),
        (
            "llama",
            {"sliding_window": 64, "layer_types": ["full_attention", "sliding_attention"] * 2},
            [Layer("attention", 128, 128), Layer("sliding_window", 128, 128, window_tokens=64)] * 2,
        ),
        (
            "exaone4",
            {"sliding_window": 64, "sliding_window_pattern": "LG"},
            [Layer("sliding_window", 128, 128, window_tokens=64), Layer("attention", 128, 128)] * 2,
        ),
        (
            "gemma4_text",
            {"sliding_window": 64, "num_kv_shared_layers": 3, "layer_types": ["full_attention"] * 4},
            [Layer("attention", 128, 128), *[Layer("none")] * 3],
        ),
        (
            "qwen3_next",
            {
                "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
                "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4,
            },
            [*[Layer("recurrent", state_values=288 + 512, history_values=288)] * 3, Layer("attention", 128, 128)],
        ),
    ],
)  # fmt: skip
def test_layers_by_model_type(model_type: str, config: dict[str, Any], expected: list[Layer]) -> None:
    assert list(layers_of(model_type, CONFIG | {"num_hidden_layers": 4} | config, {})) == expected


@pytest.mark.parametrize(
    ("model_type", "config", "why"),
    [
        ("dynosaur", {}, "not known"),
        ("mamba2", {}, "not known"),
        ("gpt_oss", {}, "sliding_window is missing"),
        ("lfm2", {}, "layer_types are missing"),
        ("qwen3", {"num_hidden_layers": "many"}, "no number"),
        ("llama", {"layer_types": ["full_attention"] * 3}, "3 of 1 layers"),
    ],
)
def test_what_cannot_be_told_is_not_guessed(model_type: str, config: dict[str, Any], why: str) -> None:
    with pytest.raises(NotToldError, match=why):
        layers_of(model_type, CONFIG | config, {})


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "m", CONFIG, named(lm_head={"weight": ("F16", (8, 8))}), "model-00001-of-00003.safetensors"
    )
    with pytest.raises(ModelFileError, match=r"model-00002-of-00003.safetensors and 1 more is missing"):
        read_model(folder)
    for number in (2, 3):
        write_safetensors(folder / f"model-{number:05}-of-00003.safetensors", {f"x{number}.weight": ("F16", (4,))})
    assert len(read_model(folder).files) == 3
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-b.safetensors", "c": "x\\u0000"}}'
    )
    with pytest.raises(ModelFileError, match=r"model-b.safetensors and 1 more is missing"):
        read_model(folder)


def with_row(shape: str, offsets: str) -> bytes:
    row = f'{{"a": {{"dtype": "F16", "shape": {shape}, "data_offsets": {offsets}}}}}'.encode()
    return len(row).to_bytes(8, "little") + row


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no safetensors file"),
        (b"\xff" * 40, "no safetensors file"),
        ((2).to_bytes(8, "little") + b"{}", "no weights in its files"),
        ((2).to_bytes(8, "little") + b"[]", "cannot be read"),
        (with_row("[2]", "[0, 4]"), "cut short"),
        (with_row("[2]", "[9, 4]"), "absurd"),
        (with_row('"x"', "[0, 4]"), "damaged"),
    ],
)
def test_damaged_files_are_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    folder = write_folder(tmp_path / "m", CONFIG, {})
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_model(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    "config", ["", "[]", "[" * 100_000, '{"model_type": 3}', '{"text_config": 1, "quantization": []}']
)
def test_odd_configs(tmp_path: Path, config: str) -> None:
    folder = write_folder(tmp_path / "m", CONFIG, named(lm_head=affine(8, 64, 4, 64)))
    (folder / "config.json").write_text(config)
    if config.startswith("{"):
        assert read_model(folder).layers is None
    else:
        with pytest.raises(ModelFileError, match=r"config.json cannot be read"):
            read_model(folder)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)
KEYS = ["model_type", "text_config", "quantization", "hidden_size", "num_hidden_layers", "layer_types", "vocab_size",
        "sliding_window", "num_experts", "num_experts_per_tok", "num_attention_heads", "full_attn_idxs"]  # fmt: skip


@given(
    st.sampled_from(["qwen3", "gemma3", "lfm2", "llama", "deepseek_v3", "qwen3_next", "exaone4", "gemma4_text"]),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4),
    st.tuples(st.integers(0, 9), st.integers(0, 200)),
    st.tuples(st.integers(0, 9), st.integers(0, 200)),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_config_and_shapes_give_a_model_or_one_clear_error(
    tmp_path: Path, model_type: str, config: dict[str, Any], packed: tuple[int, int], scales: tuple[int, int]
) -> None:
    tensors: Tensors = {
        "model.embed_tokens.weight": ("U32", packed), "model.embed_tokens.scales": ("F16", scales),
        "model.embed_tokens.biases": ("F16", scales), "model.norm.weight": ("F16", (8,)),
    }  # fmt: skip
    folder = write_folder(tmp_path / "m", CONFIG | {"model_type": model_type} | config, tensors)
    model = read_model(folder)
    assert sum(share.bytes for share in model.types) == model.tensor_bytes
    assert sum(share.parameters for share in model.types) == model.parameters
    assert model.layers is not None or any("cannot be told" in note for note in model.notes)
