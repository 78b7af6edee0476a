"""The workspace's paths: `/workspace` for the model in every dispatch, the real folder for us; and text that stays the
same for the same work.

Every path that a model names is resolved, links and all, and must end inside the real folder: a command may have
planted a link that leads out. Only ordinary files are opened; a pipe would hold us for ever.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

__all__ = ["LARGEST_FILE_BYTES", "SHOWN_ROOT", "PathError", "Workspace", "settled"]

SHOWN_ROOT = "/workspace"
"""Where the workspace lies for the model, in every dispatch: the real path alone would break the cache."""

LARGEST_FILE_BYTES = 8 * 2**20
_SHOWN_PATH = re.compile(rf"(?<![\w./-]){re.escape(SHOWN_ROOT)}(?![\w-])")

_DURATIONS = (
    (re.compile(r"^(=*) ?((?:no tests ran|\d+ \w+).*?) in \d+(?:\.\d+)?s(?: \([\d:]+\))? ?(=*)$", re.MULTILINE), r"\2"),
    (re.compile(r"^(Ran \d+ tests?) in \d+\.\d+s$", re.MULTILINE), r"\1"),
    (re.compile(r"(?<=\.tmp/)tmp[a-z0-9_]{8}\b"), "tmp"),
    (re.compile(r"\bpytest-of-\w+/pytest-\d+\b"), "pytest-of-agent/pytest-0"),
    (re.compile(r"\bat 0x[0-9a-f]{6,16}\b"), "at 0x0"),
)
"""What differs between two runs of the same tests, and what stands for it."""


class PathError(Exception):
    """A path that a tool may not use or cannot; the text is for the model."""


class Workspace:
    """A workspace on disk. `root` is its real path."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        paths = sorted({str(root.absolute()), str(self.root)}, key=len, reverse=True)
        self._real = re.compile(rf"(?:{'|'.join(map(re.escape, paths))})(?![\w-])")

    def resolve(self, text: str) -> Path:
        """The real place that a path of the model's means; it need not exist.

        Raises:
            PathError: it leads out of the workspace, or is no path.
        """
        if "\0" in text:
            raise PathError("a path cannot hold a zero byte")
        inner = text[len(SHOWN_ROOT) :].lstrip("/") if re.match(rf"{SHOWN_ROOT}(/|$)", text) else text
        try:
            place = Path(os.path.realpath(self.root / inner))
        except OSError as error:
            raise PathError(f"{text}: {error.strerror}") from error
        if not place.is_relative_to(self.root):
            raise PathError(f"{text} is outside of the workspace ({SHOWN_ROOT})")
        return place

    def file(self, text: str) -> Path:
        """The ordinary file that a path means.

        Raises:
            PathError: there is none, it is something else, it is too large, or it is outside.
        """
        place = self.resolve(text)
        try:
            status = place.stat()
        except OSError as error:
            raise PathError(f"{self.name(place)}: {error.strerror}") from error
        if stat.S_ISDIR(status.st_mode):
            raise PathError(f"{self.name(place)} is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise PathError(f"{self.name(place)} is no ordinary file")
        if status.st_size > LARGEST_FILE_BYTES:
            raise PathError(f"{self.name(place)} has {status.st_size} bytes, more than can be opened")
        return place

    def name(self, place: Path) -> str:
        """A place inside as the model writes it: relative to the workspace."""
        return place.relative_to(self.root).as_posix()

    def inward(self, command: str) -> str:
        """A command of the model's with the real path in it."""
        return _SHOWN_PATH.sub(lambda _: str(self.root), command)

    def outward(self, text: str) -> str:
        """What a command said, with the path that the model knows."""
        return self._real.sub(SHOWN_ROOT, text)


def settled(text: str) -> str:
    """A command's output without what is new in every run of it: how long tests took, names of temporary folders,
    addresses in memory. Without this no repetition could be recognised.
    """
    for pattern, instead in _DURATIONS:
        text = pattern.sub(instead, text)
    return text
