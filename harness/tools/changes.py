"""What a call changed in the workspace: it is looked through after each one. Writes nothing.

A file whose size, inode and times (that of its status too, which no program can set) are as before is as before; the
others are read and compared. Lines are counted as a bag: one that only moved is neither added nor removed.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from harness.workspace import files_of

__all__ = ["Changed", "Changes"]

LARGEST_COMPARED_BYTES = 2**20
"""Larger files are compared by their size and times alone, and their lines are not counted."""


class Changed(NamedTuple):
    """Files that were made, written or removed, relative and sorted, and what that is in lines."""

    files: tuple[str, ...] = ()
    lines_added: int = 0
    lines_removed: int = 0


class _Seen(NamedTuple):
    identity: tuple[int, ...]
    content: bytes | None


class Changes:
    """The workspace as it was when it was last looked at."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._seen = self._look({})

    def since(self) -> Changed:
        """What changed since it was last looked at."""
        before, after = self._seen, self._look(self._seen)
        self._seen = after
        files: list[str] = []
        added = removed = 0
        for name in sorted({*before, *after}):
            old, new = before.get(name), after.get(name)
            if old is new or (old and new and old.content is not None and old.content == new.content):
                continue
            files.append(name)
            lines_before, lines_after = _lines(old), _lines(new)
            added += (lines_after - lines_before).total()
            removed += (lines_before - lines_after).total()
        return Changed(tuple(files), added, removed)

    def _look(self, before: dict[str, _Seen]) -> dict[str, _Seen]:
        found: dict[str, _Seen] = {}
        for name, path in files_of(self._workspace).items():
            seen = _look_at(path, before.get(name))
            if seen is not None:
                found[name] = seen
        return found


def _look_at(path: Path, before: _Seen | None) -> _Seen | None:
    """A file now: what was seen before if it is the same, `None` if it cannot be read."""
    try:
        status = os.lstat(path)
        identity = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        if before is not None and before.identity == identity:
            return before
        small = stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST_COMPARED_BYTES
        return _Seen(identity, path.read_bytes() if small else None)
    except OSError:
        return None


def _lines(seen: _Seen | None) -> Counter[bytes]:
    return Counter(seen.content.splitlines()) if seen is not None and seen.content is not None else Counter()
