"""The Python that sandboxed commands use: an interpreter and pytest, without the environment in which dyno is
installed.

dyno's own packages hold what makes the hidden tests, so their folder is never granted. This makes a virtual environment
of links: `python`, `python3` and `pytest` on PATH, and of packages only those that pytest needs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from harness.workspace import remove, user_folder

__all__ = ["INNER_ID", "PACKAGES", "USER", "USERS", "Toolchain", "hidden_folders", "toolchain"]

PACKAGES: Final = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments")
OUR_FOLDERS: Final = ("backends", "profiler", "harness", "profiles", "tests", "benchmarks")
_SITE_FOLDERS: Final = frozenset({"site-packages", "dist-packages"})

USER: Final = "agent"
INNER_ID: Final = 1000
USERS: Final = {
    "passwd": f"root:x:0:0:root:/:/bin/sh\n{USER}:x:{INNER_ID}:{INNER_ID}:{USER}:/:/bin/sh\n",
    "group": f"root:x:0:\n{USER}:x:{INNER_ID}:\n",
}
"""The users that a command sees where it has a file system of its own: the same on every machine."""

_PYTEST: Final = """\
#!{python}
import sys

import pytest

if __name__ == "__main__":  # a process that pytest's tests start imports this file
    sys.exit(pytest.main())
"""


class Toolchain(msgspec.Struct, frozen=True):
    """A Python for commands. `bin` goes on their PATH, `readable` must be readable; `missing` packages are not
    installed.
    """

    folder: Path
    base_python: Path
    readable: tuple[Path, ...]
    missing: tuple[str, ...] = ()

    @property
    def bin(self) -> Path:
        """The folder of `python`, `python3` and `pytest`."""
        return self.folder / "bin"


@cache
def toolchain() -> Toolchain:
    """Make it, or take the one that an earlier process made: its path is the same for the same interpreter and
    packages.

    Raises:
        WorkspaceError: there is no place for it.
    """
    python = Path(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))
    found = {name: place for name in PACKAGES if (place := _place_of(name))}
    identity = "\n".join(
        [str(python), sys.version, _PYTEST, str(USERS), *(f"{name} {place}" for name, place in sorted(found.items()))]
    )
    folder = user_folder() / f"python-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if not _is_whole(folder, found):
        remove(folder)
        _make(folder, python, found)
    return Toolchain(
        folder=folder,
        base_python=python,
        readable=(*_base_folders(python), *found.values(), folder),
        missing=tuple(sorted(set(PACKAGES) - set(found))),
    )


def hidden_folders() -> tuple[Path, ...]:
    """The folders that no command may read, even inside of one that it may: those of dyno itself."""
    root = Path(__file__).resolve().parents[2]
    if root.name not in _SITE_FOLDERS:
        return (root,)
    return tuple(root / name for name in OUR_FOLDERS if (root / name).is_dir())


def _base_folders(python: Path) -> tuple[Path, ...]:
    """The folders of the base interpreter; inside the folders that every command may read there is nothing to add."""
    places = {
        Path(os.path.realpath(place))
        for place in (sys.base_prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib"), str(python.parent))
    }
    return tuple(sorted(place for place in places if not any(other in place.parents for other in places)))


def _place_of(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    place = Path(os.path.realpath(spec.origin))
    return place.parent if spec.submodule_search_locations else place


def _site(folder: Path) -> Path:
    return folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def _is_whole(folder: Path, packages: dict[str, Path]) -> bool:
    """Whether it is there with all its files: whatever cleans up temporary folders may have taken some."""
    wanted = [
        folder / "bin" / "python3",
        folder / "bin" / "pytest",
        folder / "pyvenv.cfg",
        *(folder / name for name in USERS),
    ]
    return all(place.exists() for place in (*wanted, *(_site(folder) / place.name for place in packages.values())))


def _make(folder: Path, python: Path, packages: dict[str, Path]) -> None:
    """Make it beside its place and move it there: another process sees all of it, or nothing."""
    draft = Path(tempfile.mkdtemp(prefix="python-", dir=folder.parent))
    site = _site(draft)
    site.mkdir(parents=True)
    for place in packages.values():
        (site / place.name).symlink_to(place)
    scripts = draft / "bin"
    scripts.mkdir()
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        (scripts / name).symlink_to(python)
    (scripts / "pytest").write_text(_PYTEST.format(python=folder / "bin" / "python3"), encoding="utf-8")
    (scripts / "pytest").chmod(0o755)
    for name, text in USERS.items():
        (draft / name).write_text(text, encoding="utf-8")
    (draft / "pyvenv.cfg").write_text(
        f"home = {python.parent}\ninclude-system-site-packages = false\n", encoding="utf-8"
    )
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft)
        if not folder.is_dir():
            raise
