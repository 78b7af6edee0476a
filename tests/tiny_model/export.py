"""Turn trained weights into the shipped files, and the shipped F16 GGUF into a folder for MLX.

    python -m tests.tiny_model.export build/tiny profiles/models/tiny

`write_gguf` and `write_hf_folder` need gguf, numpy and safetensors; quantising needs llama-cpp-python, and is
imported only there.
"""

import argparse
import ctypes
import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tests.tiny_model.templates import STABLE
from tests.tiny_model.tokenizer import CONTROL, END_OF_TEXT, TURN_END

NAME = "dyno-tiny"
LAYERS, HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD = 4, 256, 768, 4, 2, 64
VOCABULARY, CONTEXT, ROPE_THETA, NORM_EPSILON = 1024, 32768, 1_000_000.0, 1e-6
QUANTS = {"q8_0": "MOSTLY_Q8_0", "q4_k_m": "MOSTLY_Q4_K_M", "q2_k": "MOSTLY_Q2_K"}
FOLDER_FILES = ("tokenizer.json", "config.json", "generation_config.json")

# Names in a GGUF -> names in a Hugging Face folder; qwen3 needs no reordering of rows between the two.
_OF_MODEL = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
_OF_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TENSOR_NAMES = _OF_MODEL | {
    f"blk.{layer}.{ours}.weight": f"model.layers.{layer}.{theirs}.weight"
    for layer in range(LAYERS)
    for ours, theirs in _OF_LAYER.items()
}

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": FEED_FORWARD,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD,
    "rms_norm_eps": NORM_EPSILON,
    "rope_theta": ROPE_THETA,
    "max_position_embeddings": CONTEXT,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": True,
    "bos_token_id": END_OF_TEXT,
    "eos_token_id": TURN_END,
    "torch_dtype": "float32",
}


def write_gguf(weights: Path, tokenizer: Path, path: Path, template: Path = STABLE) -> Path:
    """Write the F16 GGUF of trained weights (a safetensors file); norms stay float32. Returns `path`."""
    tensors = load_file(weights)
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_name(NAME)
    writer.add_license("Apache-2.0 AND PSF-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_vocab_size(VOCABULARY)
    add_tokenizer(writer, tokenizer, template)
    for ours, theirs in TENSOR_NAMES.items():
        tensor = tensors[theirs]
        writer.add_tensor(ours, tensor.astype(np.float32 if tensor.ndim == 1 else np.float16))
    finish(writer)
    return path


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Path, template: Path) -> None:
    """Add a `tokenizer.json` and a chat template to the metadata of a GGUF."""
    described = json.loads(tokenizer.read_text())
    tokens = sorted(described["model"]["vocab"], key=described["model"]["vocab"].__getitem__)
    types = [gguf.TokenType.NORMAL] * len(tokens)
    for added in described["added_tokens"]:
        control = added["content"] in CONTROL
        types[added["id"]] = gguf.TokenType.CONTROL if control else gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in described["model"]["merges"]])
    writer.add_eos_token_id(TURN_END)
    writer.add_bos_token_id(END_OF_TEXT)
    writer.add_pad_token_id(END_OF_TEXT)
    writer.add_add_bos_token(False)
    writer.add_chat_template(template.read_text())


def finish(writer: gguf.GGUFWriter) -> None:
    """Write everything that was added, and close the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source: Path, path: Path, file_type: str) -> Path:
    """Write `source` as another file type, say `MOSTLY_Q4_K_M`. Raises `RuntimeError` if it cannot."""
    import llama_cpp  # noqa: PLC0415 - a heavy library that only this function needs

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_{file_type}")
    parameters.nthread = 1
    failed = llama_cpp.llama_model_quantize(str(source).encode(), str(path).encode(), ctypes.byref(parameters))
    if failed:
        raise RuntimeError(f"llama.cpp could not quantise {source.name} to {file_type} (code {failed})")
    return path


def weights_of(path: Path) -> dict[str, NDArray[np.float32]]:
    """The weights of an F16 or F32 GGUF of this model, in float32, under the names of Hugging Face."""
    tensors = gguf.GGUFReader(path).tensors
    # The reader gives the shape in ggml's order, fastest dimension first.
    return {
        TENSOR_NAMES[tensor.name]: np.asarray(tensor.data, np.float32).reshape(tuple(map(int, tensor.shape[::-1])))
        for tensor in tensors
    }


def write_hf_folder(path: Path, folder: Path, template: Path | None = None) -> Path:
    """Write the float32 folder that MLX and transformers load, from the F16 GGUF. Returns `folder`.

    Configuration and tokenizer are copied from beside the GGUF; `template` replaces the chat template.
    Float32, because MLX on a Linux CPU is about fifty times slower in half precision. Raises `OSError`
    for missing files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights_of(path), folder / "model.safetensors", metadata={"format": "pt"})
    for name in FOLDER_FILES:
        shutil.copyfile(path.with_name(name), folder / name)
    settings = json.loads(path.with_name("tokenizer_config.json").read_text())
    if template is not None:
        settings["chat_template"] = template.read_text()
    write_json(folder / "tokenizer_config.json", settings)
    return folder


def tokenizer_settings(template: Path = STABLE) -> dict[str, Any]:
    """The contents of `tokenizer_config.json`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": CONTROL[TURN_END],
        "pad_token": CONTROL[END_OF_TEXT],
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": template.read_text(),
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write readable JSON with a newline at the end."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_release(trained: Path, folder: Path, quants: dict[str, str] | None = None) -> None:
    """Write every shipped file but the templates and the README from what `train` left in `trained`."""
    shutil.copyfile(trained / "tokenizer.json", folder / "tokenizer.json")
    write_json(folder / "tokenizer_config.json", tokenizer_settings())
    write_json(folder / "config.json", CONFIG)
    write_json(folder / "generation_config.json", {"eos_token_id": TURN_END, "pad_token_id": END_OF_TEXT})
    full = write_gguf(trained / "weights.safetensors", trained / "tokenizer.json", folder / "tiny-f16.gguf")
    for name, file_type in (QUANTS if quants is None else quants).items():
        quantize(full, folder / f"tiny-{name}.gguf", file_type)


def main() -> None:
    """Parse the command line and write the shipped files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path, help="the folder that train.py wrote")
    parser.add_argument("folder", type=Path, help="where the shipped files go")
    arguments = parser.parse_args()
    write_release(arguments.trained, arguments.folder)


if __name__ == "__main__":
    main()
