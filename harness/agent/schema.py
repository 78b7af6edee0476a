"""Checks the arguments of a call against its tool's JSON Schema. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import jsonschema
import msgspec

from backends.base import JsonObject

__all__ = ["violation_of"]

_SHOWN_CHARACTERS = 400


def violation_of(arguments: JsonObject, schema: JsonObject) -> str | None:
    """What is wrong with arguments, in a line; `None` if nothing is. One that the schema does not name is wrong too.

    A schema that is none itself allows everything.
    """
    try:
        # The library has types in part only.
        error: Any = cast("Any", jsonschema).exceptions.best_match(
            _validator(msgspec.json.encode(schema)).iter_errors(arguments)
        )
    except (jsonschema.SchemaError, RecursionError):
        return None
    if error is None:
        return None
    place = ".".join(map(str, error.absolute_path))
    message = str(error.message)[:_SHOWN_CHARACTERS]
    return f"{place}: {message}" if place else message


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Any:
    held = cast("JsonObject", msgspec.json.decode(schema))
    if held.get("type") == "object":
        held = {"additionalProperties": False, **held}
    jsonschema.Draft202012Validator.check_schema(held)
    return jsonschema.Draft202012Validator(held)
