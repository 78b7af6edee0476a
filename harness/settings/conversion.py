"""Levers out of tables of TOML and out of typed texts (`skills.bytes=51000`). Reads no file.

A key that does not exist and a value that a lever cannot have are errors that say what there is instead.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import msgspec

from harness.settings.tables import SCHEMA, Setting

__all__ = ["SettingError", "parse_assignments", "setting_of", "with_levers"]

_FORM = "every lever and its levels are in docs/settings.md"
_NOT_LEVERS = ("title", "schema")
_WORDS = {"true": True, "on": True, "false": False, "off": False}


class SettingError(Exception):
    """A setting that cannot be used as written. `hint` says what to write instead (exit code 2)."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def setting_of(held: Mapping[str, Any], where: str) -> Setting:
    """The setting that a parsed TOML document means; `where` names it in errors.

    Raises:
        SettingError: an unknown key or table (names the nearest), a value of the wrong type or out of range (says the
        allowed ones), or a schema of another version.
    """
    schema = held.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise SettingError(f"{where} has schema {schema!r}", hint=f"this dyno reads schema {SCHEMA}")
    values: dict[str, Any] = {}
    for key, value in held.items():
        field = _field(key, _fields(Setting), where, "key or table")
        if not _is_table(field.type):
            values[key] = _converted(value, field.type, f"{where}: {key}")
            continue
        if not isinstance(value, dict):
            raise SettingError(f"{where}: {key} is a table of levers", hint=f"write [{key}], then its levers")
        values[key] = _table(cast("dict[str, Any]", value), field.type, f"{where}, table [{key}]")
    return Setting(**values)


def with_levers(setting: Setting, changes: Mapping[str, object]) -> Setting:
    """The setting with some levers changed, by their names: `{"skills.bytes": 51000}`.

    A text is read as the lever's type (`"51000"`, `"on"`, and `"a.md,b.md"` for a list; `"none"` for a lever that may
    be unset), as it was typed behind `--set`.

    Raises:
        SettingError: an unknown lever (names the nearest), or a value that it cannot have.
    """
    for name, value in changes.items():
        table, _, key = name.partition(".")
        if table == "target" and key:
            setting = msgspec.structs.replace(setting, target={**setting.target, key: _scalar(value)})
            continue
        kind = _table_type(table, name)
        field = _field(key, _fields(kind), f"--set {name}", f"lever of {table}", full=f"{table}.")
        new = _converted(_read(value, field.type), field.type, f"--set {name}")
        held = msgspec.structs.replace(getattr(setting, table), **{key: new})
        setting = msgspec.structs.replace(setting, **{table: held})
    return setting


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """`table.key=value` texts as a mapping, in their order; the value of a lever given twice is the last one.

    Raises:
        SettingError: a text without `=`, or without a lever before it.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise SettingError(f"--set {text}: no lever and value", hint="write table.key=value: --set skills.bytes=0")
        found[name.strip()] = value.strip()
    return found


def _table_type(table: str, name: str) -> type:
    tables = {key: field.type for key, field in _fields(Setting).items() if _is_table(field.type)}
    if table in tables and table != "target":
        return cast("type", tables[table])
    names = [f"{key}.{lever}" for key, kind in tables.items() if key != "target" for lever in _fields(kind)]
    near = difflib.get_close_matches(name, names, 1) or [n for n in names if n.endswith(f".{name}")][:1]
    hint = f"did you mean {near[0]}?" if near else f"tables: {', '.join(tables)}; {_FORM}"
    raise SettingError(f"--set {name}: there is no such lever", hint=hint)


def _table(held: dict[str, Any], kind: Any, where: str) -> Any:
    if get_origin(kind) is dict:
        return {key: _converted(value, get_args(kind)[1], f"{where}: {key}") for key, value in held.items()}
    fields = _fields(kind)
    return kind(
        **{
            key: _converted(value, _field(key, fields, where, "lever").type, f"{where}: {key}")
            for key, value in held.items()
        }
    )


def _fields(kind: Any) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(kind)}


def _field(
    key: str, fields: Mapping[str, msgspec.structs.FieldInfo], where: str, what: str, full: str = ""
) -> msgspec.structs.FieldInfo:
    if key in fields:
        return fields[key]
    near = difflib.get_close_matches(key, fields, 1)
    there = ", ".join(f"{full}{name}" for name in fields if name not in _NOT_LEVERS)
    hint = f"did you mean {full}{near[0]}?" if near else f"there are: {there}"
    raise SettingError(f"{where} has an unknown {what} {key!r}", hint=hint)


def _is_table(kind: Any) -> bool:
    return get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


def _converted(value: object, kind: Any, where: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        allowed = _allowed(kind)
        words = str(error).replace("`", "").partition(" - at ")[0]
        raise SettingError(f"{where} = {value!r}: {words}", hint=f"allowed: {allowed}" if allowed else _FORM) from error


def _allowed(kind: Any) -> str:
    """What a lever may be, in words: its levels, or its type and range."""
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is Annotated:
        base, *metas = get_args(kind)
        return " ".join([_allowed(base), *(_range(meta) for meta in metas)])
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_allowed(part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list of {_allowed(get_args(kind)[0])}"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "unset"}
    return names.get(kind, "")


def _range(meta: msgspec.Meta) -> str:
    bounds = (("at least", meta.ge), ("above", meta.gt), ("at most", meta.le))
    return ", ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)


def _read(value: object, kind: Any) -> object:
    """A typed text as a value of a lever's type; what is no text, and what cannot be read, stays as it is."""
    if not isinstance(value, str):
        return tuple(cast("list[object]", value)) if isinstance(value, list) else value
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    parts = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if type(None) in parts and value in ("", "none"):
        return None
    bases = [get_args(part)[0] if get_origin(part) is Annotated else part for part in parts]
    if bases[0] is bool:
        return _WORDS.get(value.lower(), value)
    if bases[0] in (int, float):
        return _number(value, bases[0])
    return value


def _number(text: str, kind: Any) -> object:
    try:
        return kind(text)
    except ValueError:
        return text


def _scalar(value: object) -> str | int | float | bool:
    """A target's option as TOML would hold it, so that one value has one form, however it was given."""
    if isinstance(value, bool | int | float):
        return value
    text = str(value)
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    whole = _number(text, int)
    number = _number(text, float) if whole is text else whole
    return cast("str | int | float", number)
