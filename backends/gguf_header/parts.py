"""The parts of a split GGUF model, by their names: `m-00002-of-00003.gguf`. Reads no file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_PART: Final = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<parts>\d{5})\.gguf$", re.IGNORECASE)


def part_of(name: str) -> tuple[str, int, int] | None:
    """Stem, number and count of a part of a split GGUF model (`m-00002-of-00003.gguf`); `None` for a whole one."""
    found = _PART.match(name)
    return (found["stem"], int(found["number"]), int(found["parts"])) if found else None


def part_paths(path: Path) -> tuple[Path, ...]:
    """Where all parts of the model lie, if `path` is one of them; itself alone for a whole one. None need be there."""
    split = part_of(path.name)
    if split is None:
        return (path,)
    stem, _, count = split
    return tuple(path.with_name(f"{stem}-{number:05}-of-{count:05}{path.suffix}") for number in range(1, count + 1))
