"""Measure the shipped files on the real engines and print the tables of the README.

    python -m tests.tiny_model.evaluate profiles/models/tiny

Text (perplexity, divergence, loss by position) goes through llama-cpp-python, which gives logits; tasks go
through llama-server, greedily, as a client asks them. Only held-out text and held-out questions are used.
"""

import argparse
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.tiny_model.chats import EVERYDAY_TOOLS, SYSTEMS, addition, event, fact, message, question, weather
from tests.tiny_model.coding import coding
from tests.tiny_model.corpus import library_texts, long_session, text_of
from tests.tiny_model.server import Server, serving
from tests.tiny_model.tokenizer import answer_mask, encode, load_tokenizer

FILES = ("tiny-f16.gguf", "tiny-q8_0.gguf", "tiny-q4_k_m.gguf", "tiny-q2_k.gguf")
CHUNKS, CHUNK = 32, 512
SEED = 7
QUESTIONS = 60
POSITIONS = (0, 512, 1024, 2048, 4096, 8192, 16384)
LONG_SESSIONS = 4
TOOL_OF: dict[Callable[[Random], tuple[str, Any]], str] = {
    weather: "get_weather",
    event: "add_event",
    message: "send_message",
}

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Text:
    """How a file reads held-out library text."""

    perplexity: float
    divergence_nats: float
    same_top_share: float


@dataclass(frozen=True)
class Tasks:
    """Shares of right answers to held-out questions, greedy."""

    tool_calls: float
    facts: float
    sums: float
    coding_steps: float


@contextmanager
def scorer(model: Path, context: int) -> Iterator[Callable[[list[int]], Array]]:
    """Load a file; the block gets a function: token ids to log-probabilities (tokens, vocabulary)."""
    import llama_cpp  # noqa: PLC0415 - an optional engine; the tasks below do without it

    llama = llama_cpp.Llama(
        str(model), n_ctx=context, n_batch=512, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False
    )

    def score(tokens: list[int]) -> Array:
        llama.n_tokens = 0  # eval() then drops every earlier token from the cache
        llama.eval(tokens)
        return log_softmax(np.asarray(llama.scores[: len(tokens)], np.float32))

    try:
        yield score
    finally:
        llama.close()


def log_softmax(logits: Array) -> Array:
    """Log-probabilities over the last dimension."""
    shifted = logits - logits.max(-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


def held_out_chunks(tokenizer: Path) -> list[list[int]]:
    """Chunks of held-out library text, evenly spread over it."""
    tokens = encode(load_tokenizer(tokenizer), "\n\n".join(library_texts(held_out=True)))
    starts = np.linspace(0, len(tokens) - CHUNK, CHUNKS).astype(int)
    return [tokens[start : start + CHUNK] for start in starts]


def log_probabilities(model: Path, chunks: list[list[int]]) -> Array:
    """Log-probabilities at the second half of each chunk: (chunks, positions, vocabulary)."""
    with scorer(model, CHUNK) as score:
        # The row at position i predicts token i + 1; the last one predicts nothing that is known.
        return np.stack([score(chunk)[CHUNK // 2 - 1 : -1] for chunk in chunks])


def compare(own: Array, reference: Array, chunks: list[list[int]]) -> Text:
    """Perplexity of `own`, its mean Kullback-Leibler divergence from `reference`, and agreement on top."""
    targets = np.array(chunks)[:, CHUNK // 2 :]
    likelihood = np.take_along_axis(own, targets[..., None], -1)
    return Text(
        perplexity=math.exp(-float(likelihood.mean())),
        divergence_nats=float((np.exp(reference) * (reference - own)).sum(-1).mean()),
        same_top_share=float((own.argmax(-1) == reference.argmax(-1)).mean()),
    )


def loss_by_position(model: Path, tokenizer: Path) -> list[dict[str, Any]]:
    """Mean loss (nats per token) by position in long sessions, whose seed is not training's."""
    known, random = load_tokenizer(tokenizer), Random(f"long {SEED}")
    everything: list[Array] = []
    answers: list[NDArray[np.bool_]] = []
    with scorer(model, POSITIONS[-1]) as score:
        for _ in range(LONG_SESSIONS):
            tokens = encode(known, text_of(long_session(random, POSITIONS[-1])))[: POSITIONS[-1]]
            rows = score(tokens)[:-1]
            everything.append(-np.take_along_axis(rows, np.array(tokens[1:])[:, None], -1)[:, 0])
            answers.append(answer_mask(known, tokens)[1:])
    losses, mask = np.stack(everything), np.stack(answers)
    return [
        {
            "from": start,
            "to": end,
            "all": round(float(losses[:, start:end].mean()), 4),
            "answers": round(float(losses[:, start:end][mask[:, start:end]].mean()), 4),
        }
        for start, end in itertools.pairwise(POSITIONS)
    ]


def tasks(server: Server) -> Tasks:
    """Ask held-out questions, each in a chat of its own."""
    random = Random(SEED)
    kinds = list(TOOL_OF)
    return Tasks(
        tool_calls=_share(_calls_right(server, random, kinds[number % 3]) for number in range(QUESTIONS)),
        facts=_share(_answers_right(server, random, fact) for _ in range(QUESTIONS)),
        sums=_share(_answers_right(server, random, addition) for _ in range(QUESTIONS)),
        coding_steps=_share(right for seed in range(QUESTIONS // 10) for right in coding_steps(server, seed)),
    )


def _share(results: Iterator[bool]) -> float:
    right = list(results)
    return sum(right) / len(right)


def ask(server: Server, text: str, random: Random, *, tools: bool) -> dict[str, Any]:
    """Put one question in a new chat and return the assistant message."""
    messages = [{"role": "system", "content": random.choice(SYSTEMS)}, {"role": "user", "content": text}]
    return server.chat(messages, list(EVERYDAY_TOOLS) if tools else [])


def _calls_right(server: Server, random: Random, kind: Callable[[Random], tuple[str, Any]]) -> bool:
    text, arguments = question(random, kind, held=True)
    return called(ask(server, text, random, tools=True)) == [(TOOL_OF[kind], arguments)]


def _answers_right(server: Server, random: Random, kind: Callable[[Random], tuple[str, str]]) -> bool:
    text, answer = question(random, kind, held=True)
    return bool(ask(server, text, random, tools=False)["content"] == answer)


def called(reply: dict[str, Any]) -> list[tuple[str, Any]]:
    """Names and parsed arguments of the tool calls of a message; None for arguments that are no JSON."""
    functions = [call["function"] for call in reply.get("tool_calls") or []]
    return [(function["name"], _parsed(function["arguments"])) for function in functions]


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except json.JSONDecodeError:
        return None


def coding_steps(server: Server, seed: int) -> list[bool]:
    """Replay a coding session of an unseen seed: was each step of the model the right one?"""
    session = coding(Random(f"coding {SEED} {seed}"), tasks=2)
    right = []
    for at, wanted in enumerate(session.messages):
        if wanted["role"] != "assistant":
            continue
        given = server.chat(session.messages[:at], session.tools)
        accepted = [called(wanted)]
        if [name for name, _ in accepted[0]] == ["list_files"]:
            # The generator lists files before it searches in some sessions; to search at once is right as well.
            accepted.append(called(session.messages[at + 2]))
        right.append(called(given) in accepted and (given["content"] or "") == wanted["content"])
    return right


def evaluate(folder: Path) -> dict[str, Any]:
    """Everything the README shows, as one object; file sizes in MiB."""
    tokenizer = folder / "tokenizer.json"
    chunks = held_out_chunks(tokenizer)
    reference = log_probabilities(folder / FILES[0], chunks)
    rows = []
    for name in FILES:
        text = compare(log_probabilities(folder / name, chunks), reference, chunks)
        with serving(folder / name, context=8192) as server:
            done = tasks(server)
        rows.append({"file": name, "mib": (folder / name).stat().st_size / 2**20, **vars(text), **vars(done)})
    return {"files": rows, "loss_by_position": loss_by_position(folder / FILES[0], tokenizer)}


def main() -> None:
    """Evaluate the files of a folder and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    result = evaluate(parser.parse_args().folder)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
