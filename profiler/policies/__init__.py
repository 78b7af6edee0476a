"""Policy models, one module each, found by name. `load("llama-server")` imports `profiler/policies/llama_server.py`."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from types import ModuleType

from backends.base import UnknownEngine
from profiler.policies.base import Message, Policy, Predicted, Sent, find_messages

__all__ = ["Message", "Policy", "Predicted", "Sent", "find_messages", "load", "policy_names"]

_NOT_POLICIES = {"__init__", "base", "messages"}


def policy_names() -> tuple[str, ...]:
    """Names of the policies: those of the engines' adapters, and `infinite` for the cache that forgets nothing."""
    files = Path(__file__).parent.glob("*.py")
    return tuple(sorted(f.stem.replace("_", "-") for f in files if f.stem not in _NOT_POLICIES))


def load(name: str) -> ModuleType:
    """The policy module of that name: it has `Options` and `open_policy(options)`.

    Raises:
        UnknownEngine: no policy models that engine; names the nearest one.
    """
    if name not in policy_names():
        near = difflib.get_close_matches(name, policy_names(), 1)
        hint = f"did you mean {near[0]}?" if near else f"policies: {', '.join(policy_names())}"
        raise UnknownEngine(f"no cache policy models the engine {name!r}", hint=hint)
    return importlib.import_module(f"profiler.policies.{name.replace('-', '_')}")
