"""One model in llama-cpp-python: generate with exact counts, force an output, empty the cache.

Tokens come from the library's own `Llama.generate`, so that cache behaviour is the library's; one guard is
added (`_drop_stale_window`). Counts are `llama_cpp_counting`'s, template and tokenizer `llama_cpp_text`'s.

The cache holds the prompt and every generated token but the last, which was sampled and not evaluated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import jinja2
import llama_cpp

from backends.base import (
    CacheKind,
    ContextOverflow,
    EngineFault,
    Evidence,
    Forced,
    JsonObject,
    LaunchError,
    Request,
    RequestRejected,
)
from backends.llama_cpp import Settings
from backends.workers.frames import Began, Ended, Piece, Ready, Rendered, pack_ids
from backends.workers.llama_cpp_counting import Aborted, CountingLlama
from backends.workers.llama_cpp_text import ChatText
from backends.workers.parameters import OF_SERVERS_ALONE
from backends.workers.reply_parts import opens_reasoning

# ggml.h, `ggml_type`
_KV_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}

_SAMPLING = {
    "temperature": "temp",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
_UNDERSTOOD = {*_SAMPLING, "seed", "cache_prompt", "chat_template_kwargs"}

_LIBRARY_ERRORS = (RuntimeError, ValueError, AssertionError)
_SOURCE = "exact_inprocess: eval"


class Model:
    """A loaded model with its template."""

    def __init__(self, path: str, template: str, settings: Settings) -> None:
        try:
            self._llama = CountingLlama(
                path,
                n_ctx=settings.ctx,
                n_batch=settings.batch,
                n_ubatch=settings.ubatch,
                n_threads=settings.threads,
                n_threads_batch=settings.threads,
                n_gpu_layers=settings.gpu_layers,
                type_k=_KV_TYPES[settings.kv],
                type_v=_KV_TYPES[settings.kv],
                flash_attn=settings.flash_attn,
                swa_full=settings.swa_full,
                seed=settings.seed,
                verbose=True,
            )
        except jinja2.TemplateError as error:
            # The library compiles the embedded template even where another one is used.
            raise LaunchError(
                f"the chat template inside {path} is no valid jinja: {error}", hint="use another file of this model"
            ) from error
        except (*_LIBRARY_ERRORS, OSError, MemoryError) as error:
            raise LaunchError(f"llama-cpp could not load {path}: {error}") from error
        self._llama.verbose = False
        logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
        self._seed = settings.seed
        self._text = ChatText(self._llama, template)
        self._swa_tokens = llama_cpp.llama_model_n_swa(self._llama.model)
        memory = llama_cpp.llama_get_memory(self._llama.ctx)
        if memory is None:
            raise LaunchError(f"{path} keeps no cache, so it cannot chat", hint="name a text generation model")
        self._memory = memory
        self.context_tokens = min(self._llama.n_ctx(), len(self._llama.input_ids))

    def ready(self) -> Ready:
        """What only the library knows of the loaded model."""
        model = self._llama.model
        swa_full = bool(self._llama.context_params.swa_full)
        kind: CacheKind = "sliding_window" if self._swa_tokens and not swa_full else "full"
        if llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model):
            kind = "recurrent"
        return Ready(
            build=f"llama-cpp-python {llama_cpp.__version__}, llama.cpp {llama_cpp.llama_version().decode()}",
            context_tokens=self.context_tokens,
            cache_kind=kind,
            settings={
                "swa_full": "on" if swa_full else "off",
                "native": llama_cpp.llama_print_system_info().decode().strip(" |"),
            },
        )

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """See `ChatText.forced`."""
        return self._text.forced(request, reply)

    def rendered(self, request: Request) -> Rendered:
        """The prompt of a request.

        Raises:
            RequestRejected: the template refuses the messages.
        """
        text = self._text.prompt(request)
        return Rendered(text, pack_ids(self._text.tokenize(text)))

    def generate(self, serial: int, request: Request, aborted: Callable[[], bool]) -> Iterator[Began | Piece | Ended]:
        """Serve a request.

        Raises:
            ContextOverflow: the prompt, or a forced reply after it, does not fit; nothing was evaluated.
            RequestRejected: a parameter that is not understood, or messages that the template refuses.
            EngineFault: the library failed; the cache is then empty.
        """
        sampling = _sampling_of(request)
        text = self._text.prompt(request)
        prompt = self._text.tokenize(text)
        forced = request.forced
        script = () if forced is None else (*forced.token_ids, forced.end_token_id)
        self._check_room(len(prompt), len(script))
        yield Began(serial, time.perf_counter_ns(), opens_reasoning(text))

        llama = self._llama
        if request.parameters.get("cache_prompt") is False:
            self.reset()
        matched = llama_cpp.Llama.longest_token_prefix(llama.input_ids[: llama.n_tokens].tolist(), prompt)
        notes = self._drop_stale_window(matched, len(prompt))
        llama.set_seed(int(request.parameters.get("seed", self._seed)))
        llama.begin(script, aborted)
        stamps: list[int] = []
        reason = "length"
        limit = len(script) or request.max_tokens
        started_ns = time.perf_counter_ns()
        tokens = llama.generate(prompt, **sampling)
        try:
            for token in tokens:
                if limit == 0:
                    break
                stamps.append(time.perf_counter_ns())
                ended = len(stamps) == len(script) if script else self._text.is_end(token)
                yield Piece(serial, token, b"" if ended else self._text.piece(token), stamps[-1])
                if ended:
                    reason = "stop"
                    break
                if len(stamps) == limit or len(prompt) + len(stamps) > self.context_tokens:
                    break
        except Aborted:
            yield Ended(serial, "abort", time.perf_counter_ns(), Evidence())
            return
        except _LIBRARY_ERRORS as error:
            self.reset()
            raise EngineFault(
                f"llama-cpp failed: {error}", hint="the cache was emptied; see the engine's log"
            ) from error
        finally:
            tokens.close()
        done_ns = time.perf_counter_ns()
        evaluated, prompt_done_ns = llama.prompt_evaluated_tokens, llama.prompt_done_ns
        assert evaluated is not None
        assert prompt_done_ns is not None
        if evaluated == len(prompt) and matched > 1 and not notes:
            notes = (f"{matched} tokens matched, but this cache cannot be cut back: all was evaluated",)
        evidence = Evidence(
            prompt_tokens=len(prompt),
            cached_tokens=len(prompt) - evaluated,
            evaluated_tokens=evaluated,
            generated_tokens=len(stamps),
            prefill_ns=prompt_done_ns - started_ns,
            decode_ns=stamps[-1] - stamps[0] if len(stamps) > 1 else None,
            slot=0,
            truncated=len(prompt) + len(stamps) > self.context_tokens,
            sources={
                "prompt_tokens": "exact_inprocess: tokenize",
                "cached_tokens": _SOURCE,
                "evaluated_tokens": _SOURCE,
                "generated_tokens": "exact_inprocess: sample",
                "prefill_ns": "worker clock",
                "decode_ns": "worker clock",
            },
            log=notes,
        )
        yield Ended(serial, reason, done_ns, evidence)

    def reset(self) -> None:
        """Forget every cached token."""
        self._llama.reset()  # type: ignore[no-untyped-call]
        llama_cpp.llama_memory_clear(self._memory, True)

    def _drop_stale_window(self, matched: int, prompt_tokens: int) -> tuple[str, ...]:
        """Empty the cache if the library would reuse a prefix whose sliding window is gone; says so.

        The first token that is evaluated again, at position r, attends to r - window + 1 and later
        (llama-hparams.h, `is_masked_swa`); `Llama.generate` does not check that they are still there.
        """
        reuse = matched - 1 if matched == prompt_tokens else matched
        if self._swa_tokens <= 0 or reuse <= 0:
            return ()
        oldest = llama_cpp.llama_memory_seq_pos_min(self._memory, 0)
        if 0 <= oldest <= max(0, reuse - self._swa_tokens + 1):
            return ()
        self.reset()
        return (
            f"{matched} tokens matched, but the window of {self._swa_tokens} holds none before "
            f"position {oldest}: all was evaluated",
        )

    def _check_room(self, prompt_tokens: int, script_tokens: int) -> None:
        needed = prompt_tokens + max(script_tokens - 1, 1)
        if needed > self.context_tokens:
            what = f"the prompt has {prompt_tokens} tokens"
            if script_tokens:
                what += f" and the forced reply {script_tokens}"
            raise ContextOverflow(
                f"{what}, the context {self.context_tokens}",
                prompt_tokens=prompt_tokens,
                context_tokens=self.context_tokens,
            )


def _sampling_of(request: Request) -> dict[str, Any]:
    """The keywords for `Llama.generate`: greedy unless the request says otherwise.

    Raises:
        RequestRejected: a parameter that would change the output and is not understood, or is no number.
    """
    sampling: dict[str, Any] = {"temp": 0.0}
    for key, value in request.parameters.items():
        if key in OF_SERVERS_ALONE:
            continue
        if key not in _UNDERSTOOD:
            raise RequestRejected(
                f"engine llama-cpp has no parameter {key!r}",
                hint=f"parameters: {', '.join(sorted(_UNDERSTOOD))}",
            )
        if key in _SAMPLING or key == "seed":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise RequestRejected(f"parameter {key}={value!r} is not a number", hint="give a number")
            if key in _SAMPLING:
                sampling[_SAMPLING[key]] = int(value) if key == "top_k" else float(value)
    if request.max_tokens < 0:
        raise RequestRejected(f"max_tokens is {request.max_tokens}", hint="give 0 or more")
    return sampling
