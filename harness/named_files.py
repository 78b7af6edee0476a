"""Files that are used by their names: targets, settings, plans. Where they lie is the caller's; none is read here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["file_named", "toml_files"]


def toml_files(places: Iterable[Path]) -> list[Path]:
    """The `.toml` files of some folders, which need not exist, each once; those of the first folder come first."""
    seen: set[Path] = set()
    found: list[Path] = []
    for place in places:
        for path in sorted(place.glob("*.toml")):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                found.append(path)
    return found


def file_named(
    name: str, kind: str, files: Iterable[Path], fault: Callable[[str, str], Exception], otherwise: str
) -> Path:
    """The only file of a name. `fault` makes the error of a message and a hint; `otherwise` is the hint where no name
    is near.

    Raises:
        Exception: what `fault` makes: no file has that name (the nearest is named), or several have.
    """
    known = list(files)
    paths = [path for path in known if path.stem == name]
    if len(paths) == 1:
        return paths[0]
    if paths:
        both = " and ".join(map(str, paths))
        raise fault(f"two {kind}s are named {name}: {both}", "rename one, or give the path of its file")
    near = difflib.get_close_matches(name, {path.stem for path in known}, 1)
    raise fault(f"no {kind} is named {name!r}", f"did you mean {near[0]}?" if near else otherwise)
