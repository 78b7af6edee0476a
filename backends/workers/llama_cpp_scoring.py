"""The worker that scores with llama-cpp-python (`python -m backends.workers.llama_cpp_scoring`): logits of tokens.

It uses the library's C interface, since `Llama` evaluates one sequence alone. Several chunks go side by side, each a
sequence with a cache of its own, and only the wanted half's logits are computed, as in llama.cpp's
`tools/perplexity/perplexity.cpp`. Nothing is kept from one chunk to the next.
"""

from __future__ import annotations

import ctypes
import os
from array import array
from typing import Any

import llama_cpp
import msgspec

from backends.base import CacheKind, EngineFault, LaunchError
from backends.llama_cpp import ScoringSettings
from backends.workers.exchange import Exchange
from backends.workers.frames import Load, unpack_ids
from backends.workers.scoring_messages import Evaluate, ScorerReady
from backends.workers.scoring_program import serve_scoring

_ALL_LAYERS = 0x7FFFFFFF
_FLOAT_BYTES = 4


class Scoring:
    """A loaded model; its context is made for the first chunks and again where others need a larger one."""

    def __init__(self, path: str, settings: ScoringSettings) -> None:
        self._settings = settings
        self._exchange = Exchange(settings.exchange)
        # The library's own log, on standard error, which is this worker's log file.
        llama_cpp.llama_log_set(llama_cpp.llama_log_callback(), ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = _ALL_LAYERS if settings.gpu_layers < 0 else settings.gpu_layers
        self._model: Any = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise LaunchError(f"llama-cpp could not load {path}")
        self._vocab: Any = llama_cpp.llama_model_get_vocab(self._model)
        self._vocabulary = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self._context: Any = None
        self._shape = (0, 0)
        self._batch = llama_cpp.llama_batch_init(settings.batch, 0, 1)
        # A context of the smallest size, so that settings which this model cannot have are refused when it is loaded.
        self._fit(1, 1)

    def ready(self) -> ScorerReady:
        """What only the library knows of the loaded model."""
        kind: CacheKind = "full"
        if llama_cpp.llama_model_is_recurrent(self._model) or llama_cpp.llama_model_is_hybrid(self._model):
            kind = "recurrent"
        elif llama_cpp.llama_model_n_swa(self._model) and self._settings.swa_full is False:
            kind = "sliding_window"
        bos: Any = llama_cpp.llama_vocab_bos(self._vocab)
        first = int(bos) if llama_cpp.llama_vocab_get_add_bos(self._vocab) else -1
        return ScorerReady(
            build=f"llama-cpp-python {llama_cpp.__version__}, llama.cpp {llama_cpp.llama_version().decode()}",
            vocabulary=self._vocabulary,
            first_token=first if first >= 0 else None,
            cache_kind=kind,
            batch_tokens=self._settings.batch,
            settings={"native": llama_cpp.llama_print_system_info().decode().strip(" |")},
        )

    def tokenize(self, text: str) -> array[int]:
        """The token ids of a plain text.

        Raises:
            EngineFault: the tokenizer failed.
        """
        data = text.encode()
        room = len(data) + 16
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), tokens, room, False, False)
        if count < 0:
            raise EngineFault("llama-cpp could not tokenize the text")
        return array("i", tokens[:count])

    def evaluate(self, order: Evaluate) -> None:
        """Carry out one step.

        Raises:
            EngineFault: the library failed, or there is not enough memory for the context.
        """
        if order.start == 0:
            self._fit(self._settings.ctx or order.context_tokens, order.sequences)
            memory = llama_cpp.llama_get_memory(self._context)
            if memory is not None:
                llama_cpp.llama_memory_clear(memory, True)
        target = ctypes.addressof(ctypes.c_char.from_buffer(self._exchange.mapped(order.shared_bytes))) + order.at_byte
        ids = unpack_ids(order.token_ids)
        longest = max(order.lengths)
        side_by_side = len(order.lengths) > 1
        most = len(ids) if side_by_side else min(order.batch_tokens or self._settings.batch, self._settings.batch)
        for begin in range(0, len(ids), most):
            end = min(begin + most, len(ids))
            outputs = 0
            for i in range(begin, end):
                sequence, at = divmod(i, longest) if side_by_side else (0, i)
                wanted = at >= longest - order.rows
                self._put(i - begin, ids[i], order.start + at, sequence, wanted=wanted)
                outputs += wanted
            self._decode(end - begin)
            if outputs:
                size = outputs * self._vocabulary * _FLOAT_BYTES
                ctypes.memmove(target, llama_cpp.llama_get_logits(self._context), size)
                target += size

    def _put(self, i: int, token: int, position: int, sequence: int, *, wanted: bool) -> None:
        batch = self._batch
        batch.token[i] = token
        batch.pos[i] = position
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = sequence
        batch.logits[i] = wanted

    def _decode(self, tokens: int) -> None:
        self._batch.n_tokens = tokens
        code = llama_cpp.llama_decode(self._context, self._batch)
        if code:
            raise EngineFault(f"llama_decode failed (code {code})", hint="see the engine's log; is memory short?")

    def _fit(self, tokens: int, sequences: int) -> None:
        """Make a context of so many tokens in each of so many sequences, if the present one is not that."""
        if self._context and self._shape == (tokens, sequences):
            return
        if self._context:
            llama_cpp.llama_free(self._context)
        settings = self._settings
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = tokens * sequences
        parameters.n_seq_max = sequences
        parameters.n_batch = settings.batch
        parameters.n_ubatch = settings.ubatch
        parameters.n_threads = parameters.n_threads_batch = settings.threads
        parameters.type_k = parameters.type_v = getattr(llama_cpp, f"GGML_TYPE_{settings.kv.upper()}")
        parameters.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if settings.flash_attn else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        if settings.swa_full is not None:
            parameters.swa_full = settings.swa_full
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        self._shape = (tokens, sequences)
        if not self._context:
            raise LaunchError(f"llama-cpp could not make a context of {sequences} × {tokens} tokens, kv={settings.kv}")


def load(order: Load) -> Scoring:
    """The model of an order."""
    return Scoring(order.model, msgspec.convert(order.settings, ScoringSettings))


if __name__ == "__main__":
    serve_scoring(load)
