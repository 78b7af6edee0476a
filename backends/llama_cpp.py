"""llama-cpp-python in a worker process (`backends.workers.llama_cpp`). This side never imports the library.

One sequence and no checkpoints: the cache is the last prompt with its reply. The cached count is exact, as
the prompt minus what the library's `eval` really decoded before the first token. The library evaluates
nothing at all where the prompt is exactly what it decoded last, so cached can equal the prompt.

Not the library's own behaviour: a missing BOS is added where the model asks for one, and a prefix whose
sliding window is gone (`swa_full=off`) is evaluated again, where the library would reuse it and answer
wrongly.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import psutil

from backends import missing_extra
from backends.base import (
    Delta,
    EngineError,
    Event,
    Facts,
    Forced,
    JsonObject,
    Opened,
    Prompt,
    Request,
    Stop,
    Target,
    TargetError,
)
from backends.gguf_header import GgufHeader, read_header
from backends.options import convert_options
from backends.workers.frames import (
    AskForced,
    Began,
    Done,
    Ended,
    ForcedReply,
    Load,
    Ready,
    Render,
    Rendered,
    Reset,
    unpack_ids,
)
from backends.workers.process import Worker
from backends.workers.reply_parts import ReplySplitter

__all__ = ["LlamaCpp", "Options", "Settings", "open_engine"]

DEFAULT_CONTEXT_TOKENS = 32_768

Count = Annotated[int, msgspec.Meta(ge=1)]
KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


class Options(msgspec.Struct, frozen=True):
    """Launch settings as typed.

    `ctx` defaults to 32768, or the model's context if that is less; `threads` to the physical cores;
    `gpu_layers` -1 is all (of a GPU build); `flash_attn` auto is the library's default, off, but on where the
    type of the KV cache needs it; `swa_full` unset is the library's default, on; `template` names a jinja
    file to use instead of the embedded template.
    """

    ctx: Count | None = None
    threads: Count | None = None
    gpu_layers: Annotated[int, msgspec.Meta(ge=-1)] = -1
    batch: Count = 512
    ubatch: Count = 512
    kv: KvType = "f16"
    flash_attn: Literal["auto", "on", "off"] = "auto"
    swa_full: bool | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)] = 0
    template: str = ""


class Settings(msgspec.Struct, frozen=True):
    """Launch settings in force, every default resolved; what the worker is given."""

    ctx: int
    threads: int
    gpu_layers: int
    batch: int
    ubatch: int
    kv: KvType
    flash_attn: bool
    swa_full: bool | None
    seed: int


def open_engine(target: Target) -> LlamaCpp:
    """Load `target.model` in a worker.

    Raises:
        TargetError: no model named, a wrong option, no chat template; `ModelFileError` for the file itself.
        MissingExtra: llama-cpp-python is not installed.
        LaunchError: the library could not load the model; with the last lines of its log.
    """
    if find_spec("llama_cpp") is None:
        raise missing_extra("llama_cpp", "llama-cpp")
    options = convert_options(target.options, Options, "llama-cpp")
    if target.model is None or target.url is not None:
        raise TargetError("engine llama-cpp needs a model file", hint="write llama-cpp:model.gguf")
    header = read_header(target.model)
    template = chat_template(options, header, target.model)
    settings = resolve(options, header)
    worker = Worker("backends.workers.llama_cpp", "llama-cpp")
    try:
        # Not `resolve`: the parts of a split model find each other by name, which a link may hide.
        load = Load(str(Path(target.model).absolute()), template, msgspec.to_builtins(settings))
        ready = worker.start(load, Ready)
    except (EngineError, KeyboardInterrupt):
        worker.close()
        raise
    in_force = msgspec.structs.asdict(settings)
    facts = Facts(
        engine="llama-cpp",
        build=ready.build,
        model=Path(target.model).name,
        architecture=header.architecture,
        quant=header.file_type,
        context_tokens=ready.context_tokens,
        slots=1,
        cache_kind=ready.cache_kind,
        granularity_tokens=1,
        template_sha256=hashlib.sha256(template.encode()).hexdigest(),
        launched=True,
        settings={key: _as_text(value) for key, value in in_force.items()} | ready.settings,
    )
    return LlamaCpp(worker, facts)


def chat_template(options: Options, header: GgufHeader, model: str) -> str:
    """The text of the template in force.

    Raises:
        TargetError: the named file cannot be read, or none is named and the model has none.
    """
    if not options.template:
        if header.chat_template is None:
            raise TargetError(f"model {model} has no chat template", hint="add ?template=FILE.jinja")
        return header.chat_template
    try:
        return Path(options.template).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise TargetError(
            f"the template {options.template} cannot be read: {error}", hint="name a jinja file in UTF-8"
        ) from error


def resolve(options: Options, header: GgufHeader) -> Settings:
    """The settings in force for a model.

    Raises:
        TargetError: settings that exclude each other.
    """
    quantised = options.kv not in ("f32", "f16", "bf16")
    if quantised and options.flash_attn == "off":
        raise TargetError(f"kv={options.kv} needs flash attention", hint="drop flash_attn=off or use kv=f16")
    return Settings(
        ctx=options.ctx or min(DEFAULT_CONTEXT_TOKENS, header.context_length or DEFAULT_CONTEXT_TOKENS),
        threads=options.threads or psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        gpu_layers=options.gpu_layers,
        batch=options.batch,
        ubatch=min(options.ubatch, options.batch),
        kv=options.kv,
        flash_attn=options.flash_attn == "on" or (options.flash_attn == "auto" and quantised),
        swa_full=options.swa_full,
        seed=options.seed,
    )


class LlamaCpp:
    """A loaded model. Offers `Forcer`, `Resetter` and `LogsLoad`.

    Every generated id is in `Delta.token_ids`, an end token in a delta without text; all but the last are in
    the cache.
    """

    def __init__(self, worker: Worker, facts: Facts) -> None:
        self._worker = worker
        self._facts = facts

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one request; see `Engine.stream`. A forced reply ends by its own length, not by `max_tokens`.

        Raises:
            ContextOverflow: before anything is evaluated.
            RequestRejected: a parameter that this engine has not, or messages that the template refuses.
            EngineFault, EngineDied: generation failed, or the worker ended.
        """
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        splitter = ReplySplitter()
        waiting: list[int] = []
        called = False
        at_ns: int | None = None
        with closing(self._worker.generate(request)) as answers:
            for answer in answers:
                if isinstance(answer, Began):
                    splitter = ReplySplitter(in_reasoning=answer.in_reasoning)
                    yield Opened(answer.at_ns)
                    continue
                if isinstance(answer, Ended):
                    parts = splitter.push(decode(b"", True)) + splitter.finish()
                else:
                    waiting.append(answer.token_id)
                    parts = splitter.push(decode(answer.text))
                    at_ns = answer.at_ns
                for kind, text in parts:
                    called = called or kind == "tool_call"
                    yield Delta(kind, text, tuple(waiting), at_ns)
                    waiting.clear()
                if isinstance(answer, Ended):
                    if waiting:
                        yield Delta("content", "", tuple(waiting), at_ns)
                    yield answer.evidence
                    reason = "tool_calls" if called and answer.reason == "stop" else answer.reason
                    yield Stop(reason, answer.at_ns)

    def render(self, request: Request) -> Prompt:
        """The prompt by the template in force and the model's tokenizer.

        Raises:
            RequestRejected: messages that the template refuses.
        """
        rendered = self._worker.ask(Render(request), Rendered)
        return Prompt(rendered.text, unpack_ids(rendered.token_ids))

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """What the template puts for `reply` after this request, up to its end token.

        `None` if the template does not extend the prompt by it, if its tokens merge with the prompt's, or if
        the reply itself holds an end token.
        """
        return self._worker.ask(AskForced(request, reply), ForcedReply).forced

    def reset(self) -> None:
        """Forget every cached token."""
        self._worker.ask(Reset(), Done)

    def facts(self) -> Facts:
        """Library and native version, model, settings in force."""
        return self._facts

    def pids(self) -> tuple[int, ...]:
        """The worker: the model's memory is all its own."""
        return (self._worker.pid,)

    def load_log(self) -> str:
        """What llama.cpp logged while it loaded; empty after `close`."""
        return self._worker.load_log()

    def close(self) -> None:
        """End the worker. May be called twice."""
        self._worker.close()


def _as_text(value: object) -> str:
    if value is None:
        return "default"
    return ("off", "on")[value] if isinstance(value, bool) else str(value)
