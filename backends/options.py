"""Turn a target's options, as typed, into an adapter's `Options`; say what is wrong in the user's words.

It knows no engine and no option by name: the fields, types, bounds and defaults of the struct are the
specification.
"""

from __future__ import annotations

import difflib
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from backends.base import TargetError

T = TypeVar("T", bound=msgspec.Struct)

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NAMES = {int: "a whole number", float: "a number", bool: "on or off", str: "text"}


def convert_options(options: dict[str, str], into: type[T], engine: str) -> T:
    """The options of a target as the struct `into`; fields that are not given keep their defaults.

    A key may be written with `-` for `_`. Booleans are `on/off`, `true/false`, `yes/no` or `1/0`.

    Raises:
        TargetError: an unknown key (names the nearest one), one key in two spellings, or a value of the wrong
        type.
    """
    fields = msgspec.structs.fields(into)
    types_of = get_type_hints(into, include_extras=True)
    known = {field.name: types_of[field.name] for field in fields}
    values: dict[str, Any] = {}
    for key, text in options.items():
        name = key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"options: {', '.join(known) or 'none'}"
            raise TargetError(f"engine {engine} has no option {key!r}", hint=hint)
        if name in values:
            raise TargetError(f"option {name!r} is given twice", hint="write it once")
        values[name] = _convert(text, known[name], key)
    missing = [field.name for field in fields if field.required and field.name not in values]
    if missing:
        raise TargetError(f"engine {engine} needs the option {missing[0]!r}", hint=f"add ?{missing[0]}=…")
    return into(**values)


def _convert(text: str, kind: Any, key: str) -> Any:
    """One value; `kind` is the field's annotation, with its bounds."""
    value: object = text
    if bool in _alternatives(kind) and text.lower() in _TRUE | _FALSE:
        value = text.lower() in _TRUE
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise TargetError(f"option {key}={text} is not {_expected(kind)}", hint=_bounds(error)) from error


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union, without `None` and without bounds."""
    if hasattr(kind, "__metadata__"):
        return _alternatives(kind.__origin__)
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(inner for part in get_args(kind) if part is not type(None) for inner in _alternatives(part))
    return (kind,)


def _expected(kind: Any) -> str:
    words: list[str] = []
    for part in _alternatives(kind):
        if get_origin(part) is Literal:
            words.append("one of " + ", ".join(str(choice) for choice in get_args(part)))
        else:
            words.append(_NAMES.get(part, str(part)))
    return " or ".join(words)


def _bounds(error: msgspec.ValidationError) -> str | None:
    """msgspec's own words where they say a bound, which the type alone does not."""
    words = str(error).partition(" - at ")[0].replace("`", "")
    return words if any(sign in words for sign in "<>") else None
