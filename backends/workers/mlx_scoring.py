"""The worker that scores with mlx-lm (`python -m backends.workers.mlx_scoring`): logits of given tokens.

Several chunks go side by side as the rows of one batch. What comes before the wanted half is evaluated into the cache
alone, so that its logits are never computed, in the steps in which mlx-lm itself reads a prompt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from backends.base import CacheKind, EngineFault, LaunchError
from backends.mlx import ScoringSettings
from backends.workers.exchange import Exchange
from backends.workers.frames import Load, unpack_ids
from backends.workers.mlx_cache import LiveCache
from backends.workers.mlx_library import (
    BUILD,
    load_model,
    load_tokenizer,
    make_prompt_cache,
    maybe_quantize_kv_cache,
    maybe_set_recommended_wired_limit,
    mx,
)
from backends.workers.scoring_messages import Evaluate, ScorerReady
from backends.workers.scoring_program import serve_scoring

_LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, MemoryError)
_LIBRARY_ERRORS = (RuntimeError, ValueError, NotImplementedError)


class Scoring:
    """A loaded model."""

    def __init__(self, folder: str, settings: ScoringSettings) -> None:
        self._settings = settings
        self._exchange = Exchange(settings.exchange)
        try:
            self._tokenizer: Any = load_tokenizer(Path(folder))
            maybe_set_recommended_wired_limit()
            self._model: Any = load_model(Path(folder))[0]
            self._cache: list[Any] = make_prompt_cache(self._model)
            self._kind: CacheKind = LiveCache(self._model).kind()
            self._vocabulary = int(self._model(mx.array([[0]])).shape[-1])
        except _LOAD_ERRORS as error:
            raise LaunchError(f"mlx-lm could not load {folder}: {error}") from error
        if settings.kv_bits and self._kind != "full":
            raise LaunchError("mlx-lm cannot quantise the cache of this model", hint="drop kv_bits")

    def ready(self) -> ScorerReady:
        """What only the library knows of the loaded model."""
        return ScorerReady(
            build=BUILD,
            vocabulary=self._vocabulary,
            first_token=self._first_token(),
            cache_kind=self._kind,
            batch_tokens=self._settings.prefill_step,
            settings={"device": str(mx.default_device())},
        )

    def tokenize(self, text: str) -> list[int]:
        """The token ids of a plain text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def evaluate(self, order: Evaluate) -> None:
        """Carry out one step.

        Raises:
            EngineFault: the library failed.
        """
        length = order.lengths[0]
        most = order.batch_tokens or max(1, self._settings.prefill_step // len(order.lengths))
        at_byte = order.at_byte
        try:
            tokens = mx.array(unpack_ids(order.token_ids).tolist(), mx.int32).reshape(len(order.lengths), length)
            if order.start == 0:
                self._cache = make_prompt_cache(self._model)
            before = length - order.rows
            self._read(tokens[:, :before], most)
            # The wanted rows of all chunks lie chunk after chunk: kept together unless there is one chunk alone.
            pieces = [self._logits(tokens[:, at : at + most]) for at in range(before, length, most)]
            logits = pieces[0] if len(pieces) == 1 else mx.concatenate(pieces, axis=1)
            data = memoryview(mx.contiguous(logits)).cast("B")
        except _LIBRARY_ERRORS as error:
            raise EngineFault(f"mlx-lm failed: {error}", hint="see the engine's log") from error
        self._exchange.mapped(order.shared_bytes)[at_byte : at_byte + data.nbytes] = data

    def _read(self, tokens: Any, most: int) -> None:
        """Evaluate into the cache alone."""
        for at in range(0, tokens.shape[1], most):
            self._quantise()
            self._model(tokens[:, at : at + most], cache=self._cache)
            mx.eval([layer.state for layer in self._cache])

    def _logits(self, tokens: Any) -> Any:
        self._quantise()
        logits = self._model(tokens, cache=self._cache).astype(mx.float32)
        mx.eval(logits)
        return logits

    def _quantise(self) -> None:
        """Before each step, as mlx-lm does after each: so `kv_start=0` reaches the first step too."""
        settings = self._settings
        maybe_quantize_kv_cache(self._cache, settings.kv_start, settings.kv_group, settings.kv_bits)

    def _first_token(self) -> int | None:
        """What this tokenizer puts before every text, if that is its BOS."""
        added: list[int] = self._tokenizer.encode("", add_special_tokens=True)
        bos: int | None = self._tokenizer.bos_token_id
        return bos if bos is not None and added[:1] == [bos] else None


def load(order: Load) -> Scoring:
    """The model of an order."""
    return Scoring(order.model, msgspec.convert(order.settings, ScoringSettings))


if __name__ == "__main__":
    serve_scoring(load)
