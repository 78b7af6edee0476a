"""Compare MLX with llama.cpp on the same weights: the folder of `write_hf_folder` against the F16 GGUF.

    python -m tests.tiny_model.agree profiles/models/tiny

Needs mlx-lm and llama-cpp-python. What may differ is the engines' arithmetic (float32, half precision); the
token ids of both tokenizers have to be equal.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm import load
from numpy.typing import NDArray

from tests.tiny_model.chats import EVERYDAY_TOOLS
from tests.tiny_model.evaluate import CHUNK, compare, held_out_chunks, log_probabilities, log_softmax
from tests.tiny_model.export import write_hf_folder
from tests.tiny_model.templates import render
from tests.tiny_model.tokenizer import encode, load_tokenizer

CHUNKS = 8


def agreement(folder: Path) -> dict[str, Any]:
    """Divergence (nats) of MLX from llama.cpp, agreement on top, and whether a prompt has equal token ids."""
    tokenizer = folder / "tokenizer.json"
    chunks = held_out_chunks(tokenizer)[:CHUNKS]
    reference = log_probabilities(folder / "tiny-f16.gguf", chunks)
    with tempfile.TemporaryDirectory() as place:
        loaded: Any = load(str(write_hf_folder(folder / "tiny-f16.gguf", Path(place))))
        model, known = loaded[:2]
        own = np.stack([_scores(model, chunk)[CHUNK // 2 - 1 : -1] for chunk in chunks])
        chat = [{"role": "user", "content": "Will it rain in Paris monday?"}]
        tools = list(EVERYDAY_TOOLS)
        ids = known.apply_chat_template(chat, tools=tools, add_generation_prompt=True, return_dict=False)
    expected = encode(load_tokenizer(tokenizer), render(chat, tools, generate=True))
    return {**vars(compare(own, reference, chunks)), "prompt_ids_equal": list(ids) == expected}


def _scores(model: Any, tokens: list[int]) -> NDArray[np.float32]:
    return log_softmax(np.array(model(mx.array([tokens]))[0].astype(mx.float32)))


def main() -> None:
    """Print the comparison as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    sys.stdout.write(json.dumps(agreement(parser.parse_args().folder), indent=1) + "\n")


if __name__ == "__main__":
    main()
