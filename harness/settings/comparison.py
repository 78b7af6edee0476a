"""Settings as flat levers: to record them, to fingerprint them, and to say in which two of them differ. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import cast

import msgspec

from harness.settings.tables import Setting

__all__ = ["Scalar", "difference", "fingerprint", "levers"]

Scalar = str | int | float | bool | None


def levers(setting: Setting) -> dict[str, Scalar]:
    """Every lever by its name, in the order of the tables, the target's options sorted; without title and schema.

    A list is one text, its items joined by commas, as it is typed behind `--set`.
    """
    flat: dict[str, Scalar] = {}
    for table in setting.__struct_fields__:
        held: object = getattr(setting, table)
        if isinstance(held, msgspec.Struct):
            flat |= {f"{table}.{key}": _scalar(getattr(held, key)) for key in held.__struct_fields__}
    return flat | {f"target.{key}": setting.target[key] for key in sorted(setting.target)}


def fingerprint(setting: Setting, persona_text: str, skill_text: str) -> str:
    """64 hexadecimal digits that are equal where all levers and both texts are; the title does not count."""
    parts = {"levers": levers(setting), "persona": _sha256(persona_text), "skills": _sha256(skill_text)}
    return _sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def difference(a: Setting, b: Setting) -> dict[str, tuple[Scalar, Scalar]]:
    """The levers in which two settings differ, with both values; `None` also where one has no such option."""
    left, right = levers(a), levers(b)
    names = [*left, *(name for name in right if name not in left)]
    return {name: (left.get(name), right.get(name)) for name in names if left.get(name) != right.get(name)}


def _scalar(value: object) -> Scalar:
    if isinstance(value, tuple):
        return ",".join(map(str, cast("tuple[object, ...]", value)))
    return value if isinstance(value, str | int | float | bool) else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
