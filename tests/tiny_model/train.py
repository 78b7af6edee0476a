"""Train the tiny model on a CPU, for a given number of minutes, and write tokenizer and weights.

    python -m tests.tiny_model.train --minutes 50 --out build/tiny
    python -m tests.tiny_model.train --minutes 15 --out build/longer --start build/tiny

Three phases share the time: short rows, longer rows, and rows of 2k to 16k tokens in which one conversation fills
the row. With `--start`, the weights and tokenizer of an earlier run go on, in longer and long rows, and half of the
short rows are dispatches. Weights are written every two minutes: `export` can try them while training goes on. Needs
torch; quality and file formats are the business of `evaluate` and `export`.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from tests.tiny_model.corpus import library_texts, long_session, sessions, text_of
from tests.tiny_model.dispatches import dispatches, excerpt
from tests.tiny_model.network import Shape, TinyModel
from tests.tiny_model.tokenizer import END_OF_TEXT, answer_mask, encode, load_tokenizer, train_tokenizer

SEED = 0
PEAK_RATE, FINAL_SHARE, WARMUP_STEPS = 3e-3, 0.02, 60
# A library token weighs 1. What the assistant says is what the model is for, and a small part of a chat.
# What others say (questions, tool replies) is drawn at random and teaches the shape of a chat, no more.
ANSWER_WEIGHT, OTHERS_WEIGHT = 3.0, 0.1
# Tool descriptions fill the first 300 tokens of a session: most rows go on where the last one stopped.
FRESH_ROWS = 0.3
TOKENIZER_SESSIONS, TOKENIZER_LIBRARY_CHARACTERS = 1500, 2_500_000
SAVE_EVERY_S = 120.0

Source = Literal["library", "chats", "long_chat", "dispatches"]


@dataclass(frozen=True)
class Phase:
    """A share of the time up to `until`, with rows x tokens of each step taken in turn from `sizes`."""

    until: float
    sizes: tuple[tuple[int, int], ...]
    long: bool = False


LONG_SIZES = ((4, 2048), (2, 4096), (4, 2048), (1, 8192), (4, 2048), (2, 4096), (4, 2048), (1, 16384))
PHASES: tuple[Phase, ...] = (Phase(0.45, ((12, 512),)), Phase(0.76, ((6, 1024),)), Phase(1.0, LONG_SIZES, long=True))
PHASES_AFTER_START: tuple[Phase, ...] = (
    Phase(0.65, ((4, 1024), (4, 1536), (4, 1024), (2, 3072))),
    Phase(1.0, LONG_SIZES, long=True),
)
# A quarter of the library, a quarter of everyday and coding chats, and half of dispatches: row by row, in turn.
ROWS_FROM_RANDOM: tuple[Source, ...] = ("library", "chats")
ROWS_AFTER_START: tuple[Source, ...] = ("library", "dispatches", "chats", "dispatches")
LONG_FROM_RANDOM: tuple[Source, ...] = ("library", "long_chat", "long_chat", "long_chat")
LONG_AFTER_START: tuple[Source, ...] = ("library", "long_chat", "dispatches", "dispatches", "long_chat")
# Of how many rows of dispatches the system prompt holds a document, and how much of the row it may fill.
DOCUMENTS, DOCUMENT_SHARE = 0.35, 0.6
CHARACTERS_PER_TOKEN = 2


class Rows:
    """Endless training rows: library text, packed short chats, long chats, dispatches; with a weight for each token."""

    def __init__(self, tokenizer: Tokenizer, seed: int, short: tuple[Source, ...], long: tuple[Source, ...]) -> None:
        self._tokenizer = tokenizer
        self._random = Random(seed)
        self._short, self._long = short, long
        self._taken = 0
        self._texts = tuple(library_texts())
        self._library = np.array(encode(tokenizer, "<|endoftext|>".join(self._texts)), dtype=np.int64)
        self._sessions = (encode(tokenizer, text_of(session)) for session in sessions(seed))
        self._left: list[int] = []

    def library(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """`length` consecutive tokens of the library from a random place, and their weights."""
        start = self._random.randrange(len(self._library) - length)
        return self._library[start : start + length], np.ones(length, np.float32)

    def chats(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Short sessions end to end; some rows begin with one, the others where the last row stopped."""
        tokens = [] if self._random.random() < FRESH_ROWS else self._left
        while len(tokens) < length:
            tokens = [*tokens, *next(self._sessions), END_OF_TEXT]
        self._left = tokens[length:]
        return self._weighted(tokens[:length])

    def long_chat(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `length` tokens of one long session."""
        tokens = encode(self._tokenizer, text_of(long_session(self._random, length)))
        if len(tokens) < length:
            raise ValueError(f"a long session gave {len(tokens)} tokens instead of {length}")
        return self._weighted(tokens[:length])

    def dispatches(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `length` tokens of one session of dispatches, some with a document in the system prompt."""
        share = self._random.uniform(0, DOCUMENT_SHARE) if self._random.random() < DOCUMENTS else 0.0
        text = excerpt(self._random, self._texts, int(length * share * CHARACTERS_PER_TOKEN))
        # A dispatch takes more than 80 tokens.
        tokens = encode(self._tokenizer, text_of(dispatches(self._random, length // 80, text=text)))
        if len(tokens) < length:
            raise ValueError(f"a session of dispatches gave {len(tokens)} tokens instead of {length}")
        return self._weighted(tokens[:length])

    def _weighted(self, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
        weights = np.where(answer_mask(self._tokenizer, tokens), ANSWER_WEIGHT, OTHERS_WEIGHT)
        return np.array(tokens, dtype=np.int64), weights.astype(np.float32)

    def batch(self, rows: int, length: int, *, long: bool) -> tuple[Tensor, Tensor]:
        """Tokens and weights, each (rows, length); the sources take turns, from row to row and from batch to batch."""
        pairs = [self._row(length, self._long if long else self._short) for _ in range(rows)]
        tokens, weights = (np.stack(part) for part in zip(*pairs, strict=True))
        return torch.from_numpy(tokens), torch.from_numpy(weights)

    def _row(self, length: int, sources: tuple[Source, ...]) -> tuple[np.ndarray, np.ndarray]:
        source = sources[self._taken % len(sources)]
        self._taken += 1
        row: tuple[np.ndarray, np.ndarray] = getattr(self, source)(length)
        return row


def batches(
    rows: Rows, phases: tuple[Phase, ...], started: float, seconds: float
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Yield (share of the time that has passed, tokens, weights) until the time is over."""
    counts = [0] * len(phases)
    while (share := (time.monotonic() - started) / seconds) < 1.0:
        index = next(i for i, phase in enumerate(phases) if share < phase.until)
        phase = phases[index]
        count, length = phase.sizes[counts[index] % len(phase.sizes)]
        counts[index] += 1
        yield share, *rows.batch(count, length, long=phase.long)


def rate(step: int, share: float, peak: float) -> float:
    """The learning rate: a linear warm-up, then a cosine down to a small share of the peak."""
    cosine = 0.5 * (1.0 + math.cos(math.pi * share))
    return peak * min(1.0, (step + 1) / WARMUP_STEPS) * (cosine * (1.0 - FINAL_SHARE) + FINAL_SHARE)


def losses(model: TinyModel, tokens: Tensor) -> Tensor:
    """Negative log-likelihood (rows, length - 1) of each token after the first, in nats."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.logits(model(tokens[:, :-1]))
    return F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(
        tokens.shape[0], -1
    )


def train(minutes: float, out: Path, start: Path | None = None, *, peak: float = PEAK_RATE, seed: int = SEED) -> None:
    """Train; write `tokenizer.json`, `weights.safetensors` (also on the way) and `log.jsonl` into `out`."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    model = TinyModel(Shape())
    if start is None:
        tokenizer, phases = make_tokenizer(), PHASES
        rows = Rows(tokenizer, seed, ROWS_FROM_RANDOM, LONG_FROM_RANDOM)
    else:
        tokenizer, phases = load_tokenizer(start / "tokenizer.json"), PHASES_AFTER_START
        rows = Rows(tokenizer, seed, ROWS_AFTER_START, LONG_AFTER_START)
        load(model, start)
    tokenizer.save(str(out / "tokenizer.json"))
    save(model, out)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}], betas=(0.9, 0.95)
    )
    seen, started, saved = 0, time.monotonic(), 0.0
    with (out / "log.jsonl").open("w", buffering=1) as log:
        for step, (share, tokens, weights) in enumerate(batches(rows, phases, started, minutes * 60)):
            for group in optimizer.param_groups:
                group["lr"] = rate(step, share, peak)
            each = losses(model, tokens)
            weight = weights[:, 1:]
            loss = (each * weight).sum() / weight.sum()
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            seen += tokens.numel()
            elapsed = time.monotonic() - started
            if step % 25 == 0 or tokens.shape[1] > 4096:
                row = measured(each.detach(), weight)
                line = {"step": step, "s": round(elapsed), "tokens": seen, "length": tokens.shape[1]}
                log.write(json.dumps({**line, "norm": round(float(norm), 2), **row}) + "\n")
            if elapsed - saved > SAVE_EVERY_S:
                save(model, out)
                saved = elapsed
    save(model, out)


def measured(each: Tensor, weight: Tensor) -> dict[str, float | None]:
    """Mean loss in nats of library rows and of assistant tokens; None when the batch has none."""
    library = (weight == 1.0).all(1)
    answers = weight == ANSWER_WEIGHT
    return {
        "library": round(float(each[library].mean()), 4) if library.any() else None,
        "answers": round(float(each[answers].mean()), 4) if answers.any() else None,
    }


def make_tokenizer() -> Tokenizer:
    """The tokenizer of the model: learnt from the library and from chats in about equal parts."""
    library = "\n\n".join(library_texts())[:TOKENIZER_LIBRARY_CHARACTERS]
    stream = sessions(SEED + 1)
    return train_tokenizer([library, *(text_of(next(stream)) for _ in range(TOKENIZER_SESSIONS))])


def save(model: TinyModel, out: Path) -> None:
    """Write the weights whole or not at all, under the names of Hugging Face."""
    weights = {f"model.{name}": weight.detach().contiguous() for name, weight in model.named_parameters()}
    partial = out / "weights.partial"
    save_file(weights, partial)
    partial.replace(out / "weights.safetensors")


def load(model: TinyModel, folder: Path) -> None:
    """Take over the weights that `save` wrote."""
    weights = load_file(folder / "weights.safetensors")
    model.load_state_dict({name.removeprefix("model."): weight for name, weight in weights.items()})


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="the folder of an earlier run to go on from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=SEED, help="of rows and initial weights")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(arguments.minutes, arguments.out, arguments.start, peak=arguments.rate, seed=arguments.seed)


if __name__ == "__main__":
    main()
