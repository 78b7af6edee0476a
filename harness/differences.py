"""What an agent changed in its workspace: files before and after, and as a diff. Follows no links; writes nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.detectors.base import Change
from harness.workspace import changed_files, files_of, read_file

__all__ = ["changes_of", "unified_diff"]

LARGEST_BYTES = 2**20
"""A larger file is named and not shown."""


def changes_of(before: Path, after: Path) -> tuple[Change, ...]:
    """The files that are not the same in two folders, by their relative paths; tools' own folders are left out."""
    old, new = files_of(before), files_of(after)
    return tuple(Change(name, _text(old.get(name)), _text(new.get(name))) for name in changed_files(before, after))


def unified_diff(changes: Iterable[Change]) -> str:
    """Changes as `diff -u` shows them; a file without text is named alone."""
    return "".join(line for change in changes for line in _lines(change))


def _lines(change: Change) -> Iterator[str]:
    if change.before is None and change.after is None:
        yield f"Binary files a/{change.path} and b/{change.path} differ\n"
        return
    old, new = (text.splitlines(keepends=True) if text else [] for text in (change.before, change.after))
    names = (f"{'a/' if one is not None else '/dev/null'}" for one in (change.before, change.after))
    before, after = (f"{name}{change.path}" if name == "a/" else name for name in names)
    for line in difflib.unified_diff(old, new, before, after.replace("a/", "b/", 1)):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _text(file: Path | None) -> str | None:
    data = None if file is None else read_file(file)
    if data is None or len(data) > LARGEST_BYTES or b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
