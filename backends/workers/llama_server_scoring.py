"""Logits from a llama-server: each position is a request for the probabilities of every token that may follow.

The server gives no logits of a prompt, so a chunk is sent token by token, and its cache holds what came before: one
token is evaluated a request, as in decoding. Nothing has to be compiled for it, but a request takes milliseconds and
names the whole vocabulary, so it serves where the vocabulary is small. llama-cpp-python is the scorer for the others.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.base import EngineFault, Facts, RequestRejected, Target, TargetError
from backends.gguf_header import LongArray, read_header
from backends.http_chat.connection import Connection
from backends.options import convert_options
from backends.workers.server_process import Options, ServerProcess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MOST_TOKENS", "ServerScorer", "open_scorer"]

MOST_TOKENS = 32_768
"""Of a vocabulary: a position is then some 3 MB of JSON."""
LOWEST = -104.0
"""ln of the smallest float32: below it the server knows no difference."""
_ENGINE = "llama-server"


def open_scorer(target: Target) -> ServerScorer:
    """Launch a server on the target's model, to be asked for probabilities alone.

    Raises:
        TargetError: no model file, a wrong option, or a vocabulary that is too large.
        MissingExtra, LaunchError: as for the engine.
    """
    options = convert_options(target.options, Options, _ENGINE)
    if target.model is None or target.url is not None:
        raise TargetError("llama-server is asked for logits of a model file", hint="write llama-server:model.gguf")
    header = read_header(target.model)
    tokens = header.values.get("tokenizer.ggml.tokens")
    vocabulary = tokens.length if isinstance(tokens, LongArray) else len(tokens) if isinstance(tokens, tuple) else None
    if vocabulary is None or vocabulary > MOST_TOKENS:
        told = "no vocabulary" if vocabulary is None else f"a vocabulary of {vocabulary:,} tokens"
        raise TargetError(
            f"{target.model} has {told}: llama-server is asked for logits of up to {MOST_TOKENS:,}",
            hint="pip install 'llmdyno[llama-cpp]' measures the quality of any GGUF file",
        )
    process = ServerProcess.launch(target.model, options)
    connection = Connection(process.url, _ENGINE, options.request_timeout_s, process=process)
    facts = Facts(
        engine=_ENGINE,
        build=process.build,
        model=Path(target.model).name,
        architecture=header.architecture,
        quant=header.file_type,
        launched=True,
        settings=options.as_settings(),
    )
    return ServerScorer(connection, facts, vocabulary)


class ServerScorer:
    """See `backends.abilities.Scorer`. What it gives are log-probabilities, which are logits up to a constant."""

    def __init__(self, connection: Connection, facts: Facts, vocabulary: int) -> None:
        self._connection = connection
        self._facts = facts
        self._vocabulary = vocabulary
        # Here, and not above: backends start without numpy, which takes longer than all of them.
        self._numpy: Any = import_module("numpy")

    def tokenize(self, text: str) -> array[int]:
        """The token ids of a plain text: no template, no special tokens read out of it, none added."""
        return array("i", self._tokens(text, add_special=False))

    def first_token(self) -> int | None:
        """The token that this model wants before every text; `None` where it wants none."""
        return next(iter(self._tokens("", add_special=True)), None)

    def logits(
        self,
        chunks: Sequence[Sequence[int]],
        first: int,
        *,
        batch_tokens: int | None = None,
        block_bytes: int | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """See `Scorer.logits`; a row for each block where `block_bytes` is small.

        Raises:
            RequestRejected: `batch_tokens` is given (there is one way alone), or a chunk does not fit the context.
            EngineFault, EngineDied: the evaluation failed.
        """
        if batch_tokens is not None:
            raise RequestRejected("llama-server evaluates one token at a time, and in no other way")
        rows = max(1, block_bytes // (self._vocabulary * 4)) if block_bytes else None
        return self._blocks(chunks, first, rows)

    def facts(self) -> Facts:
        """Build, model, settings in force."""
        return self._facts

    def pids(self) -> tuple[int, ...]:
        """The server's process."""
        return self._connection.pids()

    def close(self) -> None:
        """End the server. May be called twice."""
        self._connection.close()

    def _tokens(self, text: str, *, add_special: bool) -> list[int]:
        body = {"content": text, "add_special": add_special, "parse_special": False}
        tokens: list[int] = self._connection.json("POST", "/tokenize", body)["tokens"]
        return tokens

    def _blocks(self, chunks: Sequence[Sequence[int]], first: int, rows: int | None) -> Iterator[NDArray[np.float32]]:
        for chunk in chunks:
            wanted = len(chunk) - first
            step = min(rows or wanted, wanted)
            for start in range(first, len(chunk), step):
                stop = min(start + step, len(chunk))
                block = self._numpy.full((stop - start, self._vocabulary), LOWEST, dtype=self._numpy.float32)
                for row, at in enumerate(range(start, stop)):
                    self._fill(block[row], chunk[: at + 1])
                yield block

    def _fill(self, row: Any, tokens: Sequence[int]) -> None:
        body = {
            "prompt": list(tokens),
            "n_predict": 1,
            "n_probs": self._vocabulary,
            "temperature": 0,
            "cache_prompt": True,
            "post_sampling_probs": False,
            "stream": False,
        }
        answer = self._connection.json("POST", "/completion", body)
        try:
            listed = answer["completion_probabilities"][0]["top_logprobs"]
            ids = [one["id"] for one in listed]
            row[ids] = self._numpy.maximum([one["logprob"] for one in listed], LOWEST)
        except (KeyError, IndexError, TypeError) as error:
            raise EngineFault(
                "llama-server named no probabilities", hint="use a llama-server of 2025 or later"
            ) from error
        if len(ids) != self._vocabulary:
            raise EngineFault(f"llama-server named {len(ids)} of {self._vocabulary} tokens", hint="use a current one")
