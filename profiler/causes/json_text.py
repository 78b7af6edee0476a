"""Values of a request: what they are, as far as they are that, and as JSON text. Pure; nothing here raises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from backends.base import JsonObject

__all__ = ["canonical", "list_of", "object_of", "objects_of", "raw"]


def raw(value: Any) -> str:
    """A value as JSON, with its keys in the order in which they came."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        # Half a surrogate pair: no file holds one, a request that was never stored may.
        return json.dumps(value)


def canonical(value: Any) -> str:
    """A value as JSON with its keys sorted: equal texts for equal values."""
    try:
        return msgspec.json.encode(value, order="sorted").decode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True)


def object_of(value: Any) -> JsonObject:
    """The value if it is an object; else an empty one."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """The items of a list; none of anything else."""
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else []


def objects_of(value: Any) -> list[JsonObject]:
    """The objects in a list; what else it holds is left out."""
    return [cast("JsonObject", item) for item in list_of(value) if isinstance(item, dict)]
