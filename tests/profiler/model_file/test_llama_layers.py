"""The layers of each architecture are those that llama.cpp makes caches for; what is not known is not guessed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.gguf_header import GgufHeader
from profiler.model_file.base import Layer, NotToldError
from profiler.model_file.llama_architectures import KNOWN, SLIDING
from profiler.model_file.llama_layers import hparams, layers_of
from tests.profiler.model_file.gguf_bytes import Value, keys

HEADS: dict[str, Value] = {
    "embedding_length": 256, "attention__head_count": 8, "attention__head_count_kv": 2, "context_length": 4096,
}  # fmt: skip
SSM: dict[str, Value] = {
    "ssm__conv_kernel": 4, "ssm__inner_size": 512, "ssm__state_size": 16, "ssm__time_step_rank": 8,
}  # fmt: skip


def layers(architecture: str, count: int = 4, /, **values: Value) -> tuple[Layer, ...]:
    header = keys(architecture, **({"block_count": count} | HEADS | values))
    given_values = {key: tuple(value) if isinstance(value, list) else value for key, value in header.items()}
    return layers_of(hparams(GgufHeader(3, 0, 0, given_values, ())))  # type: ignore[arg-type]


def windows(found: tuple[Layer, ...]) -> str:
    return "".join(
        {"sliding_window": "w", "attention": "a", "recurrent": "r", "none": "-", "mla": "m"}[x.kind] for x in found
    )


def test_grouped_heads_by_layer() -> None:
    found = layers("openelm", attention__head_count=[8, 8, 4, 4], attention__head_count_kv=[2, 4, 0, 1])
    assert [(x.key_values, x.value_values) for x in found] == [(64, 64), (128, 128), (0, 0), (32, 32)]
    assert found[2].kind == "none"


def test_key_and_value_lengths_may_differ() -> None:
    found = layers("llama", attention__key_length=192, attention__value_length=128)
    assert {(x.key_values, x.value_values) for x in found} == {(384, 256)}


@pytest.mark.parametrize(
    ("architecture", "values", "expected"),
    [
        ("gemma3", {"attention__sliding_window": 512}, "wwwwwawwwwwa"),
        ("gemma3", {}, "aaaaaaaaaaaa"),
        ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 2}, "wawawawawawa"),
        ("gemma2", {}, "wawawawawawa"),
        ("gpt-oss", {"attention__sliding_window": 128}, "wawawawawawa"),
        ("cohere2moe", {"attention__sliding_window": 128}, "awwwawwwawww"),
        ("llama4", {}, "wwwawwwawwwa"),
        ("llama4", {"attention__sliding_window": 0}, "aaaaaaaaaaaa"),
        ("smallthinker", {}, "aaaaaaaaaaaa"),
        ("exaone4", {"attention__sliding_window": 4096}, "aaaaaaaaaaaa"),
        ("phi3", {"attention__sliding_window": 2047}, "aaaaaaaaaaaa"),
        (
            "gemma4",
            {"attention__sliding_window": 512, "attention__sliding_window_pattern": [1, 1, 0] * 4},
            "wwawwawwawwa",
        ),
        (
            "gemma4",
            {
                "attention__sliding_window": 512,
                "attention__sliding_window_pattern": [1, 1, 0] * 4,
                "attention__shared_kv_layers": 6,
            },
            "wwawwa------",
        ),
        ("step35", {"attention__sliding_window": 512, "attention__sliding_window_pattern": [0, 1] * 6}, "awawawawawaw"),
        ("lfm2", {"attention__head_count_kv": [0, 0, 2] * 4, "shortconv__l_cache": 3}, "rrarrarrarra"),
        ("qwen3next", SSM, "rrrarrrarrra"),
        ("qwen35", SSM | {"full_attention_interval": 3}, "rrarrarrarra"),
        ("qwen35moe", SSM | {"attention__recurrent_layers": [1, 0] * 6}, "rararararara"),
        ("qwen3next", SSM | {"nextn_predict_layers": 2}, "rrrarrrarr--"),
        ("mamba2", SSM, "rrrrrrrrrrrr"),
        ("bert", {}, "------------"),
        ("qwen3moe", {"nextn_predict_layers": 1}, "aaaaaaaaaaa-"),
        (
            "nemotron_h",
            SSM | {"attention__head_count_kv": [0, 2, 0] * 4, "feed_forward_length": [0, 0, 9] * 4},
            "ra-ra-ra-ra-",
        ),
        ("deepseek2", {"attention__key_length_mla": 192, "attention__value_length_mla": 128}, "mmmmmmmmmmmm"),
        ("deepseek2", {}, "aaaaaaaaaaaa"),
    ],
)
def test_kinds(architecture: str, values: dict[str, Value], expected: str) -> None:
    assert windows(layers(architecture, 12, **values)) == expected


def test_windows_have_heads_of_their_own() -> None:
    found = layers(
        "gemma4", 2, attention__sliding_window=512, attention__sliding_window_pattern=[1, 0],
        attention__key_length=512, attention__value_length=512, attention__key_length_swa=256,
        attention__value_length_swa=256, attention__head_count_kv=[4, 1],
    )  # fmt: skip
    assert found == (Layer("sliding_window", 1024, 1024, window_tokens=512), Layer("attention", 512, 512))


def test_a_compressed_row_has_no_values_of_its_own() -> None:
    found = layers(
        "deepseek2", 1, attention__head_count=128, attention__head_count_kv=1, attention__key_length=576,
        attention__value_length=512, attention__key_length_mla=192, attention__value_length_mla=128,
    )  # fmt: skip
    assert found == (Layer("mla", 576, 0),)


@pytest.mark.parametrize(
    ("architecture", "values", "history", "state"),
    [
        ("mamba", SSM, 3 * 512, 16 * 512),
        ("mamba2", SSM | {"ssm__group_count": 2}, 3 * (512 + 2 * 2 * 16), 16 * 512),
        ("rwkv7", {"wkv__head_size": 64}, 2 * 256, 256 * 64),
        ("rwkv6qwen2", {"wkv__head_size": 64, "token_shift_count": 1}, 256, 256 * 64),
        ("lfm2", {"shortconv__l_cache": 3, "attention__head_count_kv": [0] * 4}, 2 * 256, 0),
        (
            "kimi-linear",
            {"kda__head_dim": 32, "ssm__conv_kernel": 4, "attention__head_count_kv": [0] * 4},
            9 * 256,
            8192,
        ),
    ],
)
def test_states(architecture: str, values: dict[str, Value], history: int, state: int) -> None:
    """`n_embd_r` and `n_embd_s` of llama-hparams.cpp."""
    found = layers(architecture, **values)
    assert {(x.history_values, x.state_values) for x in found} == {(history, history + state)}


def test_attention_beside_a_state() -> None:
    found = layers("falcon-h1", **(SSM | {"ssm__group_count": 1}))
    assert {(x.kind, x.key_values, x.state_values) for x in found} == {("attention", 64, 3 * (512 + 32) + 512 * 16)}


@pytest.mark.parametrize(
    ("architecture", "values", "why"),
    [
        ("dynosaur", {}, "not known"),
        ("deepseek4", {}, "not known"),
        ("cohere2", {}, "sliding_window is missing"),
        ("gemma4", {"attention__sliding_window": 512}, "sliding_window_pattern is missing"),
        ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": [1]}, "1 numbers for 4"),
        ("mamba", {}, "ssm.state_size"),
        ("llama", {"block_count": 100_000}, "not possible"),
        ("llama", {"block_count": "four"}, "no number"),
        ("llama", {"attention__head_count_kv": [1, 2]}, "2 numbers for 4"),
        ("lfm2", {"attention__head_count_kv": [0] * 4}, "ssm.state_size is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_not_guessed(architecture: str, values: dict[str, Value], why: str) -> None:
    with pytest.raises(NotToldError, match=re.escape(why)):
        layers(architecture, **values)


@given(
    st.sampled_from(sorted(KNOWN)),
    st.dictionaries(
        st.sampled_from(
            [
                "attention__head_count",
                "attention__head_count_kv",
                "attention__sliding_window",
                "block_count",
                "attention__sliding_window_pattern",
                "attention__key_length",
                "nextn_predict_layers",
                "ssm__state_size",
                "full_attention_interval",
                "wkv__head_size",
                "kda__head_dim",
                "feed_forward_length",
                "embedding_length",
            ]
        ),
        st.one_of(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 9), max_size=6), st.text(max_size=2)),
    ),
)
def test_any_header_gives_layers_or_says_why(architecture: str, values: dict[str, Value]) -> None:
    try:
        found = layers(architecture, **values)
    except NotToldError:
        return
    for layer in found:
        assert min(layer.key_values, layer.value_values, layer.state_values - layer.history_values) >= 0
        assert (layer.window_tokens is not None) == (layer.kind == "sliding_window")


def test_the_tables_name_architectures_once() -> None:
    assert SLIDING.keys() <= KNOWN
    assert len(KNOWN) > 100
