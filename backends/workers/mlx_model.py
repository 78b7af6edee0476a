"""One model in mlx-lm: generate with exact counts, force an output, empty the cache.

Tokens come from the library's own `generate_step`, so prefill, cache and its look-ahead are the library's: it evaluates
a token before it hands it out, so the cache holds the prompt and every generated token, the last one too. Template
and tokenizer are `mlx_text`'s, the cache is `mlx_cache`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from backends.base import (
    ContextOverflow,
    EngineFault,
    Evidence,
    Forced,
    JsonObject,
    LaunchError,
    Request,
    RequestRejected,
)
from backends.mlx import Settings
from backends.workers.frames import Began, Ended, Piece, Ready, Rendered
from backends.workers.mlx_cache import LiveCache
from backends.workers.mlx_library import (
    BUILD,
    generate_step,
    load_model,
    make_sampler,
    maybe_set_recommended_wired_limit,
    mx,
)
from backends.workers.mlx_text import MlxText
from backends.workers.parameters import OF_SERVERS_ALONE
from backends.workers.reply_parts import opens_reasoning

# Parameters of a request -> keywords of `make_sampler`.
_SAMPLING = {"temperature": "temp", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}
_UNDERSTOOD = {*_SAMPLING, "seed", "cache_prompt", "chat_template_kwargs"}
_LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, MemoryError)
_LIBRARY_ERRORS = (RuntimeError, ValueError, NotImplementedError)


class Aborted(Exception):
    """The generation is to end; raised between two steps of the prefill."""


class Model:
    """A loaded model with its template and one live cache."""

    def __init__(self, folder: str, template: str, settings: Settings) -> None:
        self._text = MlxText(folder, template)
        try:
            # As mlx-lm's own programs do: on Metal the weights must stay resident, elsewhere it does nothing.
            maybe_set_recommended_wired_limit()
            self._model: Any = load_model(Path(folder))[0]
            self._cache = LiveCache(self._model)
        except _LOAD_ERRORS as error:
            raise LaunchError(f"mlx-lm could not load {folder}: {error}") from error
        if settings.kv_bits and self._cache.kind() != "full":
            raise LaunchError("mlx-lm cannot quantise the cache of this model", hint="drop kv_bits")
        self._settings = settings

    def ready(self) -> Ready:
        """What only the library knows of the loaded model."""
        return Ready(
            build=BUILD,
            context_tokens=self._settings.ctx,
            cache_kind=self._cache.kind(),
            settings={
                "device": str(mx.default_device()),
                "cache_layers": ", ".join(sorted({type(layer).__name__ for layer in self._cache.layers})),
            },
        )

    def rendered(self, request: Request) -> Rendered:
        """The prompt of a request; see `MlxText.rendered`."""
        return self._text.rendered(request)

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """See `MlxText.forced`."""
        return self._text.forced(request, reply)

    def reset(self) -> None:
        """Forget every cached token."""
        self._cache.clear()

    def generate(self, serial: int, request: Request, aborted: Callable[[], bool]) -> Iterator[Began | Piece | Ended]:
        """Serve a request.

        Raises:
            ContextOverflow: the prompt, or a forced reply after it, does not fit; nothing was evaluated.
            RequestRejected: a parameter that is not understood, or messages that the template refuses.
            EngineFault: the library failed; the cache is then empty.
        """
        sampler = _sampler_of(request)
        text = self._text.prompt(request)
        prompt = self._text.tokenize(text)
        forced = request.forced
        script = () if forced is None else (*forced.token_ids, forced.end_token_id)
        self._check_room(len(prompt), len(script))
        yield Began(serial, time.perf_counter_ns(), opens_reasoning(text))

        if request.parameters.get("cache_prompt") is False:
            self.reset()
        if "seed" in request.parameters:
            mx.random.seed(int(request.parameters["seed"]))
        started_ns = time.perf_counter_ns()
        kept, notes = self._cache.keep_for(prompt)
        counted = self._cache.offset()
        if counted is not None and counted != kept:
            self.reset()
            raise EngineFault(f"mlx-lm's cache holds {counted} tokens where {kept} are expected", hint="report this")

        prompt_done_ns = started_ns
        new_tokens = len(prompt) - kept

        def progress(processed: int, _total: int) -> None:
            nonlocal prompt_done_ns
            self._cache.held = prompt[: kept + processed]
            prompt_done_ns = time.perf_counter_ns()
            if processed < new_tokens and aborted():
                raise Aborted

        limit = min(len(script) or request.max_tokens, self._settings.ctx - len(prompt))
        detokenizer = self._text.detokenizer()
        stamps: list[int] = []
        reason = "length"
        tokens: Any = generate_step(
            mx.array(prompt[kept:]),
            self._model,
            max_tokens=limit,
            sampler=_script_sampler(script) if script else sampler,
            prompt_cache=self._cache.layers,
            prefill_step_size=self._settings.prefill_step,
            kv_bits=self._settings.kv_bits,
            kv_group_size=self._settings.kv_group,
            quantized_kv_start=self._settings.kv_start,
            prompt_progress_callback=progress,
        )
        try:
            for token, _ in tokens:
                stamps.append(time.perf_counter_ns())
                self._cache.held.append(token)
                ended = len(stamps) == len(script) if script else self._text.is_end(token)
                if not ended:
                    detokenizer.add_token(token)
                if ended or len(stamps) == limit:
                    detokenizer.finalize()
                yield Piece(serial, token, detokenizer.last_segment.encode(), stamps[-1])
                if ended:
                    reason = "stop"
                    break
                if aborted():
                    yield Ended(serial, "abort", time.perf_counter_ns(), Evidence())
                    return
        except Aborted:
            self._settle_after_abort()
            yield Ended(serial, "abort", time.perf_counter_ns(), Evidence())
            return
        except _LIBRARY_ERRORS as error:
            self.reset()
            raise EngineFault(f"mlx-lm failed: {error}", hint="the cache was emptied; see the engine's log") from error
        finally:
            tokens.close()
        yield Ended(
            serial,
            reason,
            time.perf_counter_ns(),
            Evidence(
                prompt_tokens=len(prompt),
                cached_tokens=kept,
                evaluated_tokens=new_tokens,
                generated_tokens=len(stamps),
                prefill_ns=prompt_done_ns - started_ns,
                decode_ns=stamps[-1] - stamps[0] if len(stamps) > 1 else None,
                slot=0,
                truncated=reason == "length" and len(prompt) + len(stamps) >= self._settings.ctx,
                sources=_SOURCES if len(stamps) > 1 else {k: v for k, v in _SOURCES.items() if k != "decode_ns"},
                log=notes,
            ),
        )

    def _settle_after_abort(self) -> None:
        """Keep what was evaluated, if the layers count it themselves; else nothing is certain."""
        if self._cache.offset() != len(self._cache.held):
            self.reset()

    def _check_room(self, prompt_tokens: int, script_tokens: int) -> None:
        if not prompt_tokens:
            raise RequestRejected("the chat template makes an empty prompt of these messages", hint="see ?template=")
        if prompt_tokens + max(script_tokens, 1) > self._settings.ctx:
            what = f"the prompt has {prompt_tokens} tokens"
            if script_tokens:
                what += f" and the forced reply {script_tokens}"
            raise ContextOverflow(
                f"{what}, the context {self._settings.ctx}",
                prompt_tokens=prompt_tokens,
                context_tokens=self._settings.ctx,
            )


Sampler = Callable[[Any], Any]
"""Log-probabilities to a token, both arrays of mlx."""

_COUNT = "exact_inprocess: layer offset"
_SOURCES = {
    "prompt_tokens": "exact_inprocess: tokenize",
    "cached_tokens": _COUNT,
    "evaluated_tokens": _COUNT,
    "generated_tokens": "exact_inprocess: sample",
    "prefill_ns": "worker clock",
    "decode_ns": "worker clock",
}


def _script_sampler(script: tuple[int, ...]) -> Sampler:
    """Choose the tokens of a script one after the other; the library samples one more than it hands out."""
    left = iter(script)
    return lambda logprobs: mx.array([next(left, script[-1])])


def _sampler_of(request: Request) -> Sampler:
    """The library's sampler for a request: greedy unless the request says otherwise.

    Raises:
        RequestRejected: a parameter that would change the output and is not understood, or is no number.
    """
    keywords: dict[str, Any] = {"temp": 0.0}
    for key, value in request.parameters.items():
        if key in OF_SERVERS_ALONE:
            continue
        if key not in _UNDERSTOOD:
            raise RequestRejected(
                f"engine mlx has no parameter {key!r}", hint=f"parameters: {', '.join(sorted(_UNDERSTOOD))}"
            )
        if key in _SAMPLING or key == "seed":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise RequestRejected(f"parameter {key}={value!r} is not a number", hint="give a number")
            if key in _SAMPLING:
                keywords[_SAMPLING[key]] = int(value) if key == "top_k" else float(value)
    if request.max_tokens < 0:
        raise RequestRejected(f"max_tokens is {request.max_tokens}", hint="give 0 or more")
    sampler: Sampler = make_sampler(**keywords)
    return sampler
