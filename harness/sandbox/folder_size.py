"""How much a folder takes on the disk while a command writes in it: no link is followed, no folder may hide from it."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

__all__ = ["DEEPEST", "size_bytes"]

DEEPEST: Final = 64
"""Folders in folders; a tree that is deeper counts as endless."""

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def size_bytes(folder: Path) -> int:
    """What its files take on the disk, each once. A file that was removed and is still open does not count.

    A folder that its owner may not list is made listable: else files could be hidden in it.
    """
    try:
        handle = os.open(folder, _OPEN)
    except OSError:
        return 0
    return _size_of(handle, 0, set())


def _size_of(handle: int, depth: int, seen: set[int]) -> int:
    """The size of an open folder, which is closed."""
    total = 0
    try:
        with os.scandir(handle) as entries:
            for entry in entries:
                try:
                    state = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(state.st_mode):
                    if depth == DEEPEST:
                        return sys.maxsize
                    total += _size_inside(handle, entry.name, depth + 1, seen)
                elif state.st_nlink == 1 or state.st_ino not in seen:
                    seen.add(state.st_ino)
                    total += state.st_blocks * 512
    except OSError:
        pass
    finally:
        os.close(handle)
    return total


def _size_inside(parent: int, name: str, depth: int, seen: set[int]) -> int:
    try:
        handle = os.open(name, _OPEN, dir_fd=parent)
    except PermissionError:
        return _size_of_closed(parent, name, depth, seen)
    except OSError:
        return 0
    return _size_of(handle, depth, seen)


def _size_of_closed(parent: int, name: str, depth: int, seen: set[int]) -> int:
    """Of a folder that may not be listed: by its handle, so that no other can be put in its place meanwhile."""
    try:
        place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except (OSError, AttributeError):
        return 0
    try:
        Path(f"/proc/self/fd/{place}").chmod(0o700)
        handle = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0
    finally:
        os.close(place)
    return _size_of(handle, depth, seen)
