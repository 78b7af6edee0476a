"""Whether two texts hold the same JSON values, or the same words, in another form. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from profiler.causes.json_text import canonical, list_of, object_of

__all__ = ["objects_in", "same_values", "tool_name", "tool_names_in"]

MAX_OBJECTS: Final = 64
MAX_STARTS: Final = 256
MAX_CALL_KEYS: Final = 3
_DECODER: Final = json.JSONDecoder()
_ARGUMENT_KEYS: Final = ("arguments", "parameters")


def objects_in(text: str) -> list[str]:
    """The JSON objects of a text that nothing encloses, each in one form for equal values; broken ones left out."""
    found: list[str] = []
    at = text.find("{")
    for _ in range(MAX_STARTS):
        if at < 0 or len(found) >= MAX_OBJECTS:
            break
        try:
            # The text goes on behind the object, which only this decoder allows.
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        found.append(canonical(_arguments(value)))
        at = text.find("{", end)
    return found


def same_values(old: str, new: str) -> bool:
    """Whether both texts hold the same JSON objects, or differ in spaces, escapes and quotes alone.

    The old side may be cut short by nothing; the new one may go on with other text behind the last object.
    """
    ours, theirs = objects_in(old), objects_in(new)
    if ours and theirs:
        return ours == theirs[: len(ours)]
    return bool(old.strip()) and _plain(old) == _plain(new)


def tool_names_in(text: str) -> list[str]:
    """The names of the tools in a JSON text of one or more tools."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return []
    return [name for name in map(tool_name, list_of(value) or [value]) if name]


def tool_name(tool: Any) -> str:
    """The name of a tool as chat requests hold it, with or without a `function` around it; empty if it has none."""
    name = object_of(object_of(tool).get("function", tool)).get("name")
    return name if isinstance(name, str) else ""


def _arguments(value: Any) -> Any:
    """The arguments of a tool call that a template writes as an object of name and arguments."""
    call = object_of(value)
    named = "name" in call and len(call) <= MAX_CALL_KEYS
    inner: Any = next((call[key] for key in _ARGUMENT_KEYS if named and key in call), value)
    if isinstance(inner, str):
        try:
            return msgspec.json.decode(inner)
        except (msgspec.DecodeError, RecursionError):
            return inner
    return inner


def _plain(text: str) -> str:
    return "".join(text.replace("\\n", "\n").replace('\\"', '"').split())
