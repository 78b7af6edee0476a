"""The folder that an agent works in: at the same place in every dispatch, empty at its start; how its files are read.

The place is fixed because the agent sees its path: another path in the prompt would lose the engine's cache. It is
claimed by a lock, so a second dispatch at the same time gets another one. A workspace is written by a model: nothing
here follows a symbolic link in it, whatever it points at.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

__all__ = [
    "IGNORED",
    "WorkspaceError",
    "changed_files",
    "claim",
    "copy_tree",
    "empty",
    "files_of",
    "read_file",
    "remove",
    "user_folder",
]

IGNORED: Final = frozenset({".home", ".tmp", "__pycache__", ".pytest_cache", ".hypothesis"})
"""Folders of a workspace that tools make by themselves (a command's own HOME and TMPDIR, caches): no work of the
agent's."""

FIXED_UNIX_S: Final = 1_600_000_000
"""When every copied file was last changed, for a command that looks."""

MOST_CLAIMS: Final = 64
DEEPEST: Final = 64
"""Folders in folders that are looked at; a command can nest them without end."""


class WorkspaceError(Exception):
    """No place for a workspace, or one that cannot be used. `hint` says what to do next (exit code 3)."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def user_folder() -> Path:
    """This user's folder for what dyno needs while it runs, made where it is missing: `<tempdir>/dyno-<uid>`, mode
    0700.

    Raises:
        WorkspaceError: it is somebody else's, or no folder.
    """
    folder = Path(tempfile.gettempdir()).resolve() / f"dyno-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
            raise WorkspaceError(f"{folder} is not a folder of this user", "remove it, or set TMPDIR to another place")
        folder.chmod(0o700)
    except OSError as error:
        raise WorkspaceError(f"{folder}: {error.strerror}", "set TMPDIR to a folder that can be written") from error
    return folder


@contextmanager
def claim(parent: Path | None = None) -> Generator[Path]:
    """The first workspace that nobody uses, empty before and after: `workspace`, else `workspace-2`, and so on.

    Its lock lies beside it and ends with the process, so what a killed one left is emptied by the next.

    Raises:
        WorkspaceError: no place, or all are used.
    """
    parent = parent or user_folder()
    for number in range(1, MOST_CLAIMS + 1):
        name = "workspace" if number == 1 else f"workspace-{number}"
        lock = os.open(parent / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            place = parent / name
            empty(place)
            try:
                yield place
            finally:
                empty(place)
        finally:
            os.close(lock)
        return
    raise WorkspaceError(f"{MOST_CLAIMS} workspaces in {parent} are used", "wait for the other dispatches to end")


def empty(folder: Path) -> None:
    """Make it an empty folder of mode 0700, whatever was there."""
    remove(folder)
    folder.mkdir(mode=0o700)


def remove(place: Path) -> None:
    """Remove a file or a tree if it is there, whatever a command made of it: closed folders, a tree without end.

    Raises:
        WorkspaceError: something of it is still there.
    """
    if place.is_symlink() or place.is_file():
        place.unlink()
        return
    if not place.is_dir():
        return
    try:
        with suppress(RecursionError):
            shutil.rmtree(place, ignore_errors=True)
        if place.is_dir():
            _remove_flat(place)
    except OSError as error:
        raise WorkspaceError(f"{place} cannot be removed: {error.strerror}", "remove it by hand") from error


def _remove_flat(place: Path) -> None:
    """Remove a tree of any depth, with folders that were closed: each folder is emptied into the topmost one."""
    mark, moved = f".removed-{secrets.token_hex(8)}", 0
    place.chmod(0o700)
    while entries := _entries(place):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                Path(entry.path).unlink()
                continue
            Path(entry.path).chmod(0o700)
            for inner in _entries(Path(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    Path(inner.path).chmod(0o700)
                Path(inner.path).rename(place / f"{mark}-{moved}")
                moved += 1
            Path(entry.path).rmdir()
    place.rmdir()


def copy_tree(source: Path, target: Path, *, leave_out: frozenset[str] = frozenset()) -> None:
    """Copy a tree into a folder, made where it is missing, with the same time for every file; `leave_out` are names.

    A relative symbolic link that stays inside is copied as a link; any other is left out, and so is what is neither
    file nor folder (a command can make a pipe, which would never end), and what lies deeper than `DEEPEST` folders. Of
    modes, only whether a file may be run is kept.
    """
    target.mkdir(parents=True, exist_ok=True)
    _copy_folder(source, target, source.resolve(), leave_out, 0)


def _copy_folder(source: Path, target: Path, root: Path, leave_out: frozenset[str], depth: int) -> None:
    for entry in _entries(source):
        place = target / entry.name
        if entry.name in leave_out:
            continue
        if entry.is_symlink():
            if _stays_inside(Path(entry.path), root):
                place.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir(follow_symlinks=False):
            if depth < DEEPEST:
                place.mkdir(exist_ok=True)
                _copy_folder(Path(entry.path), place, root, leave_out, depth + 1)
        elif (data := read_file(Path(entry.path))) is not None:
            place.write_bytes(data)
            place.chmod(0o755 if entry.stat(follow_symlinks=False).st_mode & 0o100 else 0o644)
            os.utime(place, (FIXED_UNIX_S, FIXED_UNIX_S))
    os.utime(target, (FIXED_UNIX_S, FIXED_UNIX_S))


def _stays_inside(link: Path, root: Path) -> bool:
    """Whether a link is relative and leads, through whatever others, to a place inside."""
    try:
        return not link.readlink().is_absolute() and link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, sorted by name; nothing if it cannot be listed."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def read_file(file: Path) -> bytes | None:
    """What an ordinary file holds; `None` for anything else, and for what cannot be read. No link is followed."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as opened:
        return opened.read()


def files_of(folder: Path) -> dict[str, Path]:
    """The regular files of a tree by their relative paths, sorted; links are neither followed nor named.

    `IGNORED` names are left out, and what lies deeper than `DEEPEST` folders. Bytes of a name that are no UTF-8 are
    written as `\\xff`, so a path is opened by the value and not by the name.
    """
    return dict(sorted(_files(folder, "", 0)))


def changed_files(before: Path, after: Path) -> tuple[str, ...]:
    """The relative paths of the regular files that are not the same in two trees, sorted."""
    old, new = files_of(before), files_of(after)
    return tuple(name for name in sorted({*old, *new}) if _held(old.get(name)) != _held(new.get(name)))


def _held(file: Path | None) -> bytes | None:
    return None if file is None else read_file(file)


def _files(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, Path]]:
    for entry in _entries(folder):
        if entry.name in IGNORED:
            continue
        name = prefix + os.fsencode(entry.name).decode("utf-8", "backslashreplace")
        if entry.is_file(follow_symlinks=False):
            yield name, Path(entry.path)
        elif entry.is_dir(follow_symlinks=False) and depth < DEEPEST:
            yield from _files(Path(entry.path), f"{name}/", depth + 1)
