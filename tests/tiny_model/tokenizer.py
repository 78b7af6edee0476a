"""The tokenizer: byte-level BPE of 1024 entries with the pre-tokenizer that llama.cpp calls `qwen2`.

Chat markers are control tokens, which engines hide. Tags that a client must see (`<tool_call>`, `<think>` …)
are ordinary visible tokens: in a GGUF they are USER_DEFINED, so that detokenised text keeps them.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 1024
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VISIBLE = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
    "<tools>",
    "</tools>",
)
END_OF_TEXT, TURN_START, TURN_END = range(3)

# The split of Qwen 2 and 3. Every digit is a token of its own, which makes sums learnable at this size.
PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Learn the merges from `texts`. Equal texts give an equal tokenizer of `VOCABULARY` entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKENIZER), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[
                *(AddedToken(text, special=True, normalized=False) for text in CONTROL),
                *(AddedToken(text, special=False, normalized=False) for text in VISIBLE),
            ],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise ValueError(
            f"the texts gave {tokenizer.get_vocab_size()} entries instead of {VOCABULARY}: too little text"
        )
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`. Raises `OSError` when it cannot be read."""
    return Tokenizer.from_str(path.read_text())


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of `text`; markers and tags written in the text become their own tokens."""
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def answer_mask(tokenizer: Tokenizer, tokens: list[int]) -> NDArray[np.bool_]:
    """Which tokens of a rendered chat the assistant generates: its turns up to and with their end marker."""
    header = encode(tokenizer, "assistant\n")
    mask = np.zeros(len(tokens), np.bool_)
    begin = None
    for at, token in enumerate(tokens):
        if token == TURN_START and tokens[at + 1 : at + 1 + len(header)] == header:
            begin = at + 1 + len(header)
        elif token == TURN_END and begin is not None:
            mask[begin : at + 1] = True
            begin = None
    return mask
