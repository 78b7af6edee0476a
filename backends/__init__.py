"""Engine adapters, one file each, found by file name. `load("llama-server")` imports `backends/llama_server.py`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from backends.abilities import Planner, Scorer
from backends.base import Engine, MissingExtra, Target, TargetError, UnknownEngine

__all__ = ["engine_names", "load", "open_engine", "open_planner", "open_scorer", "parse_target"]

_NOT_ENGINES = {"__init__", "abilities", "base", "errors", "options"}
_EXTRA_OF_PACKAGE = {
    "xllamacpp": "llama-server",
    "llama_cpp": "llama-cpp",
    "starlette_context": "llama-cpp-server",
    "mlx": "mlx",
    "mlx_lm": "mlx",
    "openai": "openai",
}


def engine_names() -> tuple[str, ...]:
    """Names of the adapters shipped here, as typed on the command line."""
    files = Path(__file__).parent.glob("*.py")
    return tuple(sorted(f.stem.replace("_", "-") for f in files if f.stem not in _NOT_ENGINES))


def load(name: str) -> ModuleType:
    """The adapter module for an engine name; a dotted name loads an adapter from outside.

    Raises:
        UnknownEngine: no such adapter; names the nearest one.
        MissingExtra: the adapter imports a package that is not installed; names the install command.
    """
    dotted = name if "." in name else f"backends.{name.replace('-', '_')}"
    if "." not in name and name not in engine_names():
        near = difflib.get_close_matches(name, engine_names(), 1)
        hint = f"did you mean {near[0]}?" if near else f"engines: {', '.join(engine_names())}"
        raise UnknownEngine(f"unknown engine {name!r}", hint=hint)
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        # A missing library must never look like an unknown engine: `error.name` tells them apart.
        if error.name is not None and (dotted == error.name or dotted.startswith(error.name + ".")):
            raise UnknownEngine(f"no module {dotted!r}", hint=f"engines: {', '.join(engine_names())}") from error
        raise missing_extra(error.name or "?", name) from error


def missing_extra(package: str, engine: str) -> MissingExtra:
    """The error for a package that an engine needs and that is not installed."""
    extra = _EXTRA_OF_PACKAGE.get(package.split(".")[0])
    command = f"pip install 'llmdyno[{extra}]'" if extra else f"pip install {package}"
    return MissingExtra(f"engine {engine} needs the package {package}", hint=command)


def parse_target(text: str) -> Target:
    """Read `engine:model?key=value&…` or `engine:http://host:port#model?key=value`.

    Raises:
        TargetError: the text has no engine, or an option without a value.
    """
    engine, colon, rest = text.partition(":")
    if not colon or not engine or "/" in engine or engine.endswith(".gguf"):
        raise TargetError(
            f"target {text!r} names no engine", hint="write engine:model, for example llama-server:model.gguf"
        )
    place, question, query = rest.partition("?")
    options: dict[str, str] = {}
    if question:
        for pair in filter(None, query.split("&")):
            key, equals, value = pair.partition("=")
            if not equals:
                raise TargetError(f"option {pair!r} in target {text!r} has no value", hint="write key=value")
            options[key] = value
    if place.startswith(("http://", "https://")):
        url, _, model = place.partition("#")
        return Target(engine=engine, url=url.rstrip("/"), model=model or None, options=options)
    return Target(engine=engine, model=place or None, options=options)


def open_engine(target: Target) -> Engine:
    """Start or reach the engine that a target names.

    Raises:
        EngineError: see the tree in `backends.base`.
    """
    module = load(target.engine)
    engine: Engine = module.open_engine(target)
    return engine


def open_planner(engine: str) -> Planner:
    """Start what says how much memory targets of this engine would take.

    Raises:
        EngineError: see the tree in `backends.base`; `TargetError` if this engine cannot tell.
    """
    planner: Planner = _ability(engine, "open_planner", "cannot say what a model would take")()
    return planner


def open_scorer(target: Target) -> Scorer:
    """Load a target's model to ask for logits.

    Raises:
        EngineError: see the tree in `backends.base`; `TargetError` if this engine gives no logits.
    """
    scorer: Scorer = _ability(target.engine, "open_scorer", "gives no logits")(target)
    return scorer


def _ability(engine: str, name: str, otherwise: str) -> Callable[..., Any]:
    opener = getattr(load(engine), name, None)
    if opener is None:
        raise TargetError(f"engine {engine} {otherwise}", hint="name a model file with engine llama-cpp or mlx")
    return cast("Callable[..., Any]", opener)
