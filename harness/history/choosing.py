"""Which runs are meant where several may be: names, beginnings, folders, `latest`, and patterns. Reads no records."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from harness.history.stored import name_of, run_folders
from profiler.run_names import UnknownRun, find_run

__all__ = ["chosen_runs"]


def chosen_runs(root: Path, words: Sequence[str]) -> dict[str, Path]:
    """The folders of the runs that the words mean, by name. Loads of an experiment are `<experiment>/001` and so on.

    Raises:
        UnknownRun: a word means none, or several without being a pattern.
        StoreError: the folder cannot be read.
    """
    by_name = {name_of(folder): folder for folder in run_folders(root.absolute())}
    found: dict[str, Path] = {}
    for word in words:
        if word in by_name:
            found[word] = by_name[word]
        elif any(sign in word for sign in "*?["):
            meant = {name: folder for name, folder in by_name.items() if fnmatchcase(name, word)}
            if not meant:
                raise UnknownRun(f"no run in {root} is like {word!r}", hint="dyno history lists them")
            found |= meant
        elif begun := [name for name in by_name if "/" in word and name.startswith(word)]:
            if len(begun) > 1:
                raise UnknownRun(f"{len(begun)} runs begin with {word!r}", hint=f"write more: {', '.join(begun[:3])}")
            found[begun[0]] = by_name[begun[0]]
        else:
            folder = find_run(root, word).absolute()
            found[name_of(folder)] = folder
    return found
