"""What a rule of the prompt's side is, and how sure it can be. Values alone."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from profiler.causes.base import Case, Change

__all__ = ["Guess", "Rule", "is_block"]


class Guess(msgspec.Struct, frozen=True):
    """An answer that such changes mostly deserve, and that this one does not prove."""

    text: str


Rule = Callable[[Case, Change], str | Guess | None]


def is_block(change: Change) -> bool:
    """Whether whole messages are meant, not a piece of one."""
    return (
        change.place.path.startswith("messages[") and change.place.path.endswith("]") and "." not in change.place.path
    )
