"""The chosen setting as a file of the user's, with what it rests on as comments. Writes one file, overwrites none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.items import Table

from harness.settings import SCHEMA, Setting, places
from harness.tune.document import TuneDocument
from profiler.run_files import renamed

__all__ = ["setting_text", "write_setting", "written_before"]

_WIDTH = 110


def setting_text(setting: Setting, title: str, evidence: list[str]) -> str:
    """A setting's file: the evidence, then every lever that is not at its default.

    The file is read again as the same setting (`harness.settings.read_setting`), but for its title.
    """
    document = tomlkit.document()
    document.add("schema", tomlkit.item(SCHEMA))
    document.add("title", tomlkit.item(title))
    document.add(tomlkit.nl())
    for line in evidence:
        for piece in _wrapped(line):
            document.add(tomlkit.comment(piece))
    usual = Setting()
    for name in setting.__struct_fields__:
        held: object = getattr(setting, name)
        table = _table(held, getattr(usual, name))
        if table is not None and len(table):
            document.add(tomlkit.nl())
            document.add(name, table)
    return tomlkit.dumps(document)


def write_setting(name: str, setting: Setting, document: TuneDocument) -> Path:
    """Write the file into the user's folder of settings; a name that is taken gets a number. Raises StoreError."""
    folder = places()[1]
    taken = {path.stem for place in places() for path in place.glob("*.toml")}
    free = next(
        each for number in range(1, 10_000) if (each := name if number == 1 else f"{name}-{number}") not in taken
    )
    path = folder / f"{free}.toml"
    text = setting_text(setting, f"{document.setting}, tuned: {document.title}", evidence_of(document))
    with renamed(f"cannot write {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return path


def written_before(document: Path) -> Path | None:
    """Where the setting of a tuning that is shown again was written, if its file is still there."""
    try:
        file = msgspec.json.decode(document.read_bytes(), type=TuneDocument).file
    except (OSError, msgspec.DecodeError):
        return None
    return Path(file) if file is not None and Path(file).is_file() else None


def evidence_of(document: TuneDocument) -> list[str]:
    """What the setting rests on, line by line."""
    lines = [f"Made by dyno tune ({document.tuning}) from the setting {document.setting} for {document.target}."]
    if document.confirmed is not None:
        lines.append(f"{document.primary} on held-out tasks: {document.confirmed.held_out.text}.")
        lines.append(f"Shrinkage: {document.confirmed.shrinkage_text}.")
        if document.confirmed.guards:
            lines.append(f"Guards: {', '.join(document.confirmed.guards)}.")
    lines += [
        f"{lever.name}: {lever.current} before, {lever.chosen} now."
        for lever in document.levers
        if lever.chosen not in (None, lever.current)
    ]
    lines += [f"Main effect: {effect.text}." for effect in document.effects]
    lines.append(f"Tuned on {', '.join(document.tasks)}.")
    lines.append(f"Confirmed on {', '.join(document.held_out)} ({document.fidelity}).")
    return lines


def _table(held: object, usual: object) -> Table | None:
    if isinstance(held, dict):
        table = tomlkit.table()
        for key, value in sorted(held.items()):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            table.add(str(key), tomlkit.item(value))  # pyright: ignore[reportUnknownArgumentType]
        return table
    if not isinstance(held, msgspec.Struct):
        return None
    table = tomlkit.table()
    for key in held.__struct_fields__:
        level: Any = getattr(held, key)
        if level != getattr(usual, key) and level is not None:
            table.add(key, tomlkit.item(list(level) if isinstance(level, tuple) else level))  # pyright: ignore[reportUnknownArgumentType]
    return table


def _wrapped(line: str) -> list[str]:
    pieces = [""]
    for word in line.split():
        if pieces[-1] and len(pieces[-1]) + len(word) >= _WIDTH:
            pieces.append(" ")
        pieces[-1] += f" {word}" if pieces[-1].strip() else word if not pieces[-1] else f" {word}"
    return pieces
