"""The modelled engine of an arm that is simulated: which policy, and what renders its prompts. Evaluates nothing.

A target with a model file is rendered by that file, loaded with as little as possible; one at an address by the server
there. Without either, dyno's own small tokenizer takes the place: shares are about right then, and counts are not.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from backends import open_engine
from backends.base import Engine, ModelFileError, Target, TargetError
from harness.cli.template_run import SMALL
from harness.simulation.facts import facts_of_model
from harness.simulation.modelled import Modelled
from harness.simulation.settings import options_of
from profiler.policies import load, policy_names

__all__ = ["USUAL", "check_simulated", "open_modelled"]

USUAL: Final = "llama-server:"
"""What an arm without a target is simulated as."""


def check_simulated(target: Target) -> None:
    """Whether a target can be simulated. Raises TargetError, UnknownEngine, before anything is opened."""
    if target.engine not in policy_names():
        hint = f"there are: {', '.join(name for name in policy_names() if name != 'infinite')}"
        raise TargetError(f"no cache policy models the engine {target.engine!r}: it cannot be simulated", hint=hint)
    _options(target, {})


def open_modelled(target: Target) -> Engine:
    """The engine of a target, as its cache policy.

    Raises:
        TargetError, UnknownEngine: no policy models it, or it has no such option.
        EngineError: what renders cannot be started.
    """
    check_simulated(target)
    facts: dict[str, Any] = {}
    with ExitStack() as undone:
        renderer = open_engine(_renderer(target))
        undone.callback(renderer.close)
        if _is_file(target):
            try:
                facts = facts_of_model(str(target.model), target.options.get("kv", "f16")).values
            except ModelFileError as error:
                raise TargetError(f"{target.model} cannot be read: {error}", hint="name a GGUF file") from error
        shown = renderer.facts()
        if target.url is not None and shown.context_tokens is not None:
            facts = {"model_ctx": shown.context_tokens, "cache_kind": shown.cache_kind or "full"}
        options = _options(target, facts)
        made = Modelled(renderer, target.engine, options, _context_tokens(options), dict(target.options))
        undone.pop_all()
    return made


def _renderer(target: Target) -> Target:
    if target.url is not None:
        return target
    if not _is_file(target):
        return Target("scripted")
    small = SMALL.get(target.engine, {})
    kept = {key: value for key, value in target.options.items() if key == "binary"}
    return msgspec.structs.replace(target, options={**small, **kept}) if small else target


def _is_file(target: Target) -> bool:
    return target.model is not None and target.url is None and Path(target.model).exists()


def _options(target: Target, facts: dict[str, Any]) -> msgspec.Struct:
    """The policy's options: those of the target that it knows; threads and their like decide about no cache."""
    known = {field.name for field in msgspec.structs.fields(load(target.engine).Options)}
    given = {key: value for key, value in target.options.items() if key.replace("-", "_") in known}
    return options_of(target.engine, given, facts)


def _context_tokens(options: msgspec.Struct) -> int | None:
    """The context of one slot, where it is known; slots that are not asked for share all of it."""
    values: dict[str, Any] = msgspec.structs.asdict(options)
    context: int | None = values.get("ctx") or values.get("model_ctx")
    slots: int | None = values.get("slots")
    if context is None or slots is None or values.get("kv_unified"):
        return context
    return context // slots
