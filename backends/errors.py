"""What adapters raise, and nothing else. Foreign errors are renamed at this boundary.

They form a tree:

    EngineError
    ├── TargetError            the target as written cannot be used (exit code 2)
    │   ├── UnknownEngine      no adapter of that name
    │   └── ModelFileError     missing, not a model, truncated
    ├── MissingExtra           the adapter exists, a package it needs is not installed (exit code 3)
    ├── LaunchError            the engine did not start (exit code 3)
    ├── Unreachable            nothing answers at the address (exit code 3)
    ├── RequestRejected        the engine refused one request (HTTP 4xx)
    │   └── ContextOverflow    the prompt does not fit the context
    ├── EngineFault            the engine failed on one request (HTTP 5xx, a reply that cannot be parsed)
    └── EngineDied             the engine went away while it served a request
"""

from __future__ import annotations

__all__ = [
    "ContextOverflow",
    "EngineDied",
    "EngineError",
    "EngineFault",
    "LaunchError",
    "MissingExtra",
    "ModelFileError",
    "RequestRejected",
    "TargetError",
    "UnknownEngine",
    "Unreachable",
]


class EngineError(Exception):
    """Base of everything an adapter raises. `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class TargetError(EngineError):
    """The target cannot be used as written."""


class UnknownEngine(TargetError):
    """No adapter has that name."""


class ModelFileError(TargetError):
    """The model file is missing, is no model or is cut short."""


class MissingExtra(EngineError):
    """A package that the adapter needs is not installed."""


class LaunchError(EngineError):
    """The engine could not be started."""


class Unreachable(EngineError):
    """Nothing answers at the target's address."""


class RequestRejected(EngineError):
    """The engine refused this request (HTTP 4xx)."""

    def __init__(self, message: str, *, hint: str | None = None, status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ContextOverflow(RequestRejected):
    """The prompt has more tokens than the context holds; both counts where the engine names them."""

    def __init__(self, message: str, *, prompt_tokens: int | None = None, context_tokens: int | None = None) -> None:
        super().__init__(message, hint="raise the target's ctx or use shorter sessions", status=400)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class EngineFault(EngineError):
    """The engine failed on this request, or answered what cannot be parsed."""


class EngineDied(EngineError):
    """The engine went away before the reply was complete."""
