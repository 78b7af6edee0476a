"""Which engine measures a model's file, and what it is launched with. Starts none.

A GGUF file is measured on llama-server, which is what agents use; without it on llama-cpp-python. An MLX folder is
measured on mlx.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

from backends import missing_extra
from backends.base import MissingExtra
from harness.experiment.plan import PlanError
from harness.quant.base import Candidate, Wanted
from profiler.model_file.base import ModelFile

__all__ = [
    "WANTED_OPTIONS",
    "check_engine",
    "default_threads",
    "engine_of",
    "options_of",
    "scorer_of",
    "scorer_options",
    "supports_slots",
]

FEW_CORES: Final = 4
"""On so few, engines get half of them: their threads wait for each other by spinning, and crawl when dyno or anything
else needs a core of theirs. On more the engine's own default stands."""

ASKED_VOCABULARY: Final = 32_768
"""llama-server names the whole vocabulary in each reply, which is too much for a larger one."""
SCORED_CONTEXT: Final = "4096"
"""Tokens of context where llama-server scores: its default is the model's own, of which a chunk needs little."""

_LOADS: Final = {"gguf": ("llama-server", "llama-cpp", "llama-cpp-server"), "mlx": ("mlx", "mlx-server")}
"""Which engines load a model's file or folder, by container; the others serve what they were started with."""

_MLX_BITS: Final = {"q8_0": "8", "q5_0": "5", "q5_1": "5", "q4_0": "4", "q4_1": "4"}
"""What comes nearest to a llama.cpp type of KV cache; mlx-lm keeps f16 otherwise."""

_SERVERS: Final = ("llama-server",)
"""Engines that have slots, and take `ctx` for all of them together."""


WANTED_OPTIONS: Final = frozenset(("ctx", "slots", "kv", "kv_bits", "kv_start"))
"""Launch settings that follow from what is wanted: context, slots, the type of KV cache."""


def engine_of(model: ModelFile, *, installed: bool = True, has: Callable[[str], bool] | None = None) -> str:
    """The engine that measures a model; with `installed`, one that is here. `has` tells of a package or a program.

    Raises:
        MissingExtra: none that can is installed; names the command that installs it.
    """
    has = has or _is_installed if installed else lambda _: True
    if model.container == "mlx":
        if has("mlx_lm"):
            return "mlx"
        raise missing_extra("mlx_lm", "mlx")
    if has("llama-server") or has("xllamacpp"):
        return "llama-server"
    if has("llama_cpp"):
        return "llama-cpp"
    missing: MissingExtra = missing_extra("xllamacpp", "llama-server")
    raise missing


def check_engine(engine: str, model: ModelFile) -> None:
    """Whether an engine that is there loads files of this kind.

    Raises:
        PlanError: it does not.
    """
    able = _LOADS[model.container]
    if engine not in able:
        kind = "GGUF files" if model.container == "gguf" else "MLX folders"
        raise PlanError(f"{engine} does not load {kind} such as {model.path.name}", hint=f"engines: {', '.join(able)}")


def default_threads(cores: int | None = None) -> int | None:
    """Threads for an engine on so many logical cores; `None` leaves its own default."""
    cores = os.cpu_count() or FEW_CORES if cores is None else cores
    return max(1, cores // 2) if cores <= FEW_CORES else None


def supports_slots(engine: str) -> bool:
    """Whether the engine serves several sequences at a time."""
    return engine in _SERVERS


def options_of(engine: str, model: ModelFile, kv: str, wanted: Wanted, further: dict[str, str]) -> dict[str, str]:
    """Launch settings of an engine for what is wanted; `further` are the user's, and come last.

    Raises:
        PlanError: the engine cannot serve so many slots, or has no such type of KV cache.
    """
    if wanted.slots > 1 and not supports_slots(engine):
        raise PlanError(f"{engine} serves one sequence at a time", hint="leave --slots out, or measure on llama-server")
    options: dict[str, str] = {}
    if supports_slots(engine):
        # llama-server shares `ctx` among its slots.
        options |= {"ctx": str(wanted.context_tokens * wanted.slots), "slots": str(wanted.slots)}
    elif engine in ("llama-cpp", "mlx"):
        options |= {"ctx": str(wanted.context_tokens)}
    if engine in ("llama-server", "llama-cpp"):
        options |= {"kv": kv}
        threads = default_threads()
        options |= {"threads": str(threads)} if threads is not None else {}
    elif kv != "f16" and engine == "mlx":
        if kv not in _MLX_BITS:
            raise PlanError(f"mlx has no KV cache of type {kv}", hint=f"types: f16, {', '.join(_MLX_BITS)}")
        options |= {"kv_bits": _MLX_BITS[kv], "kv_start": "0"}
    return {**options, **further}


def scorer_of(model: ModelFile, has: Callable[[str], bool] | None = None) -> str | None:
    """The engine that gives the logits of a model here; `None` if what could is not installed."""
    has = has or _is_installed
    if model.container == "mlx":
        return "mlx" if has("mlx_lm") else None
    if has("llama_cpp"):
        return "llama-cpp"
    few = model.vocabulary_tokens is not None and model.vocabulary_tokens <= ASKED_VOCABULARY
    return "llama-server" if few and (has("llama-server") or has("xllamacpp")) else None


def scorer_options(engine: str, candidate: Candidate) -> dict[str, str]:
    """Options of what scores a candidate: its type of KV cache, and as many threads as its engine has."""
    taken = ("kv_bits", "kv_start", "kv_group") if engine == "mlx" else ("kv", "threads", "gpu_layers")
    options = {} if engine == "mlx" else {"kv": candidate.kv}
    if engine == "llama-server":
        options |= {"ctx": SCORED_CONTEXT, "slots": "1"}
    return {**options, **{name: value for name, value in candidate.target.options.items() if name in taken}}


def _is_installed(name: str) -> bool:
    return shutil.which(name) is not None if "-" in name else find_spec(name) is not None
