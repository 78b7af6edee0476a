"""mlx-lm in a worker process (`backends.workers.mlx`). This side never imports the library.

One live cache, which every conversation shares: it is cut back to what the next prompt has in common with it, where the
model's cache can be cut back, and made anew where not; such a cache (a sliding window beyond its window, a recurrent
state) is then of use for pure appends alone. The cached count is exact: the layers' own offset before the prefill.

Not the library's own behaviour: mlx-lm knows no limit of context. `ctx` is one that is kept here.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal

import msgspec

from backends import missing_extra
from backends.base import EngineError, Facts, Target, TargetError
from backends.options import convert_options
from backends.workers.frames import Load, Ready
from backends.workers.model_folder import ModelFolder, read_folder, read_template
from backends.workers.process import Worker
from backends.workers.worker_engine import WorkerEngine
from backends.workers.worker_scorer import ScoringWorker, WorkerScorer, start_scorer

__all__ = ["Options", "ScoringSettings", "Settings", "open_engine", "open_scorer"]

DEFAULT_CONTEXT_TOKENS = 32_768

Count = Annotated[int, msgspec.Meta(ge=1)]


class Options(msgspec.Struct, frozen=True):
    """Launch settings as typed.

    `ctx` defaults to 32768, or the model's context if that is less. `prefill_step` is mlx-lm's own default; `kv_bits`
    quantises the KV cache in groups of `kv_group` once it holds `kv_start` tokens; `template` names a jinja file
    to use instead of the model's own.
    """

    ctx: Count | None = None
    prefill_step: Count = 2048
    kv_bits: Literal[2, 3, 4, 5, 6, 8] | None = None
    kv_group: Literal[32, 64, 128] = 64
    kv_start: Annotated[int, msgspec.Meta(ge=0)] = 5000
    template: str = ""


class Settings(msgspec.Struct, frozen=True):
    """Launch settings in force, every default resolved; what the worker is given."""

    ctx: int
    prefill_step: int
    kv_bits: int | None
    kv_group: int
    kv_start: int


class ScoringSettings(Settings, frozen=True):
    """The same for a scorer; `exchange` is the descriptor of the shared memory."""

    exchange: int


def open_engine(target: Target) -> WorkerEngine:
    """Load the model folder `target.model` in a worker.

    Raises:
        TargetError: no model named, a wrong option; `ModelFileError` for the folder itself.
        MissingExtra: mlx or mlx-lm is not installed.
        LaunchError: the library could not load the model; with the last lines of its log.
    """
    options, folder = _checked(target)
    template = read_template(options.template)
    settings = _resolve(options, folder)
    worker = Worker("backends.workers.mlx", "mlx")
    try:
        load = Load(str(folder.path.absolute()), template, msgspec.to_builtins(settings))
        ready = worker.start(load, Ready)
    except (EngineError, KeyboardInterrupt):
        worker.close()
        raise
    in_force = msgspec.structs.asdict(settings).items()
    facts = Facts(
        engine="mlx",
        build=ready.build,
        model=folder.path.absolute().name,
        architecture=folder.architecture,
        quant=folder.quant,
        context_tokens=ready.context_tokens,
        slots=1,
        cache_kind=ready.cache_kind,
        granularity_tokens=1,
        template_sha256=folder.template_sha256(template),
        launched=True,
        settings={key: "default" if value is None else str(value) for key, value in in_force} | ready.settings,
    )
    return WorkerEngine(worker, facts)


def open_scorer(target: Target) -> WorkerScorer:
    """Load the model folder `target.model` in a worker of its own, to ask for logits.

    `template` means nothing here, and `kv_start` is 0 unless it is given.

    Raises:
        TargetError: no model named, a wrong option; `ModelFileError` for the folder itself.
        MissingExtra: mlx or mlx-lm is not installed.
        LaunchError: the library could not load the model; with the last lines of its log.
    """
    options, folder = _checked(target)
    settings = _resolve(options, folder)
    if settings.kv_bits and "kv_start" not in target.options:
        # Texts are scored in chunks far shorter than mlx-lm's 5000: nothing would be quantised, and nothing said so.
        settings = msgspec.structs.replace(settings, kv_start=0)
    worker = ScoringWorker("backends.workers.mlx_scoring", "mlx")
    in_force = msgspec.structs.asdict(settings)
    load = Load(str(folder.path.absolute()), "", in_force | {"exchange": worker.exchange.descriptor})
    ready = start_scorer(worker, load)
    facts = Facts(
        engine="mlx",
        build=ready.build,
        model=folder.path.absolute().name,
        architecture=folder.architecture,
        quant=folder.quant,
        context_tokens=options.ctx,
        cache_kind=ready.cache_kind,
        launched=True,
        settings={key: "default" if value is None else str(value) for key, value in in_force.items()} | ready.settings,
    )
    return WorkerScorer(worker, ready, facts, options.ctx)


def _checked(target: Target) -> tuple[Options, ModelFolder]:
    """The options of a target and its folder. Raises `TargetError`, `MissingExtra`."""
    options = convert_options(target.options, Options, "mlx")
    for package in ("mlx", "mlx_lm"):
        if find_spec(package) is None:
            raise missing_extra(package, "mlx")
    if target.model is None or target.url is not None:
        raise TargetError(
            "engine mlx needs a model folder", hint="write mlx:FOLDER, or mlx-server:http://… for a server"
        )
    return options, read_folder(target.model)


def _resolve(options: Options, folder: ModelFolder) -> Settings:
    return Settings(
        ctx=options.ctx or min(DEFAULT_CONTEXT_TOKENS, folder.context_tokens or DEFAULT_CONTEXT_TOKENS),
        prefill_step=options.prefill_step,
        kv_bits=options.kv_bits,
        kv_group=options.kv_group,
        kv_start=options.kv_start,
    )
