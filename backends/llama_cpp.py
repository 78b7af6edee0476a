"""llama-cpp-python in a worker process (`backends.workers.llama_cpp`). This side never imports the library.

One sequence and no checkpoints: the cache is the last prompt with its reply. The cached count is exact, as
the prompt minus what the library's `eval` really decoded before the first token. The library evaluates
nothing at all where the prompt is exactly what it decoded last, so cached can equal the prompt.

Not the library's own behaviour: a missing BOS is added where the model asks for one, and a prefix whose
sliding window is gone (`swa_full=off`) is evaluated again, where the library would reuse it and answer
wrongly.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import psutil

from backends import missing_extra
from backends.base import EngineError, Facts, Target, TargetError
from backends.gguf_header import GgufHeader, read_header
from backends.options import convert_options
from backends.workers.frames import Load, Ready
from backends.workers.llama_planner import LlamaPlanner
from backends.workers.planning_messages import PlanSettings
from backends.workers.process import Worker
from backends.workers.worker_engine import WorkerEngine
from backends.workers.worker_scorer import ScoringWorker, WorkerScorer, start_scorer

__all__ = ["Options", "Settings", "open_engine", "open_planner"]

DEFAULT_CONTEXT_TOKENS = 32_768
SCORING_BATCH_TOKENS = 2048
"""llama-perplexity's own default: so many tokens of several chunks go side by side."""

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


class ScoringSettings(Settings, frozen=True):
    """The same for a scorer: `ctx` 0 is as much as a chunk needs, `exchange` the descriptor of the shared memory."""

    exchange: int


def open_engine(target: Target) -> WorkerEngine:
    """Load `target.model` in a worker.

    Raises:
        TargetError: no model named, a wrong option, no chat template; `ModelFileError` for the file itself.
        MissingExtra: llama-cpp-python is not installed.
        LaunchError: the library could not load the model; with the last lines of its log.
    """
    options, model = _checked(target)
    header = read_header(model)
    template = chat_template(options, header, model)
    settings = resolve(options, header)
    worker = Worker("backends.workers.llama_cpp", "llama-cpp")
    try:
        # Not `resolve`: the parts of a split model find each other by name, which a link may hide.
        load = Load(str(Path(model).absolute()), template, msgspec.to_builtins(settings))
        ready = worker.start(load, Ready)
    except (EngineError, KeyboardInterrupt):
        worker.close()
        raise
    in_force = msgspec.structs.asdict(settings)
    facts = Facts(
        engine="llama-cpp",
        build=ready.build,
        model=Path(model).name,
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
    return WorkerEngine(worker, facts)


def open_planner() -> LlamaPlanner:
    """A planner of this engine's loads. Raises `MissingExtra` if llama-cpp-python is not installed."""
    return LlamaPlanner("llama-cpp", _plan_settings)


def _plan_settings(target: Target, header: GgufHeader) -> PlanSettings:
    settings = resolve(convert_options(target.options, Options, "llama-cpp"), header)
    batch = min(settings.ctx, settings.batch)
    return PlanSettings(
        context_tokens=settings.ctx,
        sequences=1,
        kv=settings.kv,
        batch=batch,
        ubatch=min(batch, settings.ubatch),
        flash_attn="on" if settings.flash_attn else "off",
        swa_full=settings.swa_full is not False,
        kv_unified=False,
        gpu_layers=settings.gpu_layers,
        most_outputs=0,
    )


def open_scorer(target: Target) -> WorkerScorer:
    """Load `target.model` in a worker of its own, to ask for logits.

    `ctx` is the context of each sequence where it is given (models exist whose positions depend on it), else as much
    as a chunk needs; `batch` is 2048 unless it is given; `seed` and `template` mean nothing here.

    Raises:
        TargetError: no model named, a wrong option; `ModelFileError` for the file itself.
        MissingExtra: llama-cpp-python is not installed.
        LaunchError: the library could not load the model; with the last lines of its log.
    """
    options, model = _checked(target)
    if "batch" not in target.options:
        options = msgspec.structs.replace(options, batch=max(SCORING_BATCH_TOKENS, options.ubatch))
    header = read_header(model)
    settings = msgspec.structs.replace(resolve(options, header), ctx=options.ctx or 0)
    worker = ScoringWorker("backends.workers.llama_cpp_scoring", "llama-cpp")
    in_force = msgspec.structs.asdict(settings)
    load = Load(str(Path(model).absolute()), "", in_force | {"exchange": worker.exchange.descriptor})
    ready = start_scorer(worker, load)
    facts = Facts(
        engine="llama-cpp",
        build=ready.build,
        model=Path(model).name,
        architecture=header.architecture,
        quant=header.file_type,
        context_tokens=options.ctx,
        cache_kind=ready.cache_kind,
        launched=True,
        settings={key: _as_text(value) for key, value in in_force.items() if key != "seed"}
        | {"ctx": _as_text(options.ctx)}
        | ready.settings,
    )
    return WorkerScorer(worker, ready, facts, options.ctx)


def _checked(target: Target) -> tuple[Options, str]:
    """The options of a target and its model file. Raises `TargetError`, `MissingExtra`."""
    if find_spec("llama_cpp") is None:
        raise missing_extra("llama_cpp", "llama-cpp")
    options = convert_options(target.options, Options, "llama-cpp")
    if target.model is None or target.url is not None:
        raise TargetError("engine llama-cpp needs a model file", hint="write llama-cpp:model.gguf")
    return options, target.model


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


def _as_text(value: object) -> str:
    if value is None:
        return "default"
    return ("off", "on")[value] if isinstance(value, bool) else str(value)
