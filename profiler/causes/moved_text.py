"""Whether a text that was cut off a message stands in the newest one: it goes with it, request by request. Pure."""

from __future__ import annotations

from typing import Final

from backends.base import JsonObject
from profiler.causes.base import Case, Change
from profiler.causes.json_text import objects_of

__all__ = ["moved_on"]

LEAST_CHARS: Final = 8
"""A shorter text may stand in the newest message by chance."""


def moved_on(case: Case, change: Change) -> bool:
    """Whether a message lost its beginning or its end, and the newest message of the request has it now.

    The message must keep something: a result that was cleared because the same file was read again is another matter.
    """
    at, before = change.place.message, case.previous
    if at is None or before is None or not change.in_request:
        return False
    old, new = (objects_of(step.request.get("messages")) for step in (before, case.step))
    if at >= len(old) or at >= len(new) - 1 or old[at].get("role") != new[at].get("role"):
        return False
    was, now, newest = _words(old[at]), _words(new[at]), _words(new[-1])
    if not now.strip() or was == now:
        return False
    cut = was[len(now) :] if was.startswith(now) else was[: -len(now)] if was.endswith(now) else ""
    return len(cut.strip()) >= LEAST_CHARS and cut.strip() in newest


def _words(message: JsonObject) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""
