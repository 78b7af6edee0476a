"""Which run is meant: ids, the runs of a folder, and the one that a user names. Reads no records.

Raises only `StoreError`, of which `UnknownRun` is a usage error (exit code 2).
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from profiler.run_files import StoreError, renamed

__all__ = ["RUNS", "UnknownRun", "find_run", "list_runs", "new_run_id"]

RUNS: Final = Path("runs")
"""Where runs are stored unless the user says otherwise."""

_SUFFIX_LETTERS: Final = "23456789abcdefghjkmnpqrstvwxyz"
_STAMP_LENGTH: Final = len("20261120-124501")
_SHOWN: Final = 3


class UnknownRun(StoreError):
    """A name that means no stored run, or several; or no session of a run."""


def new_run_id(now_unix_ns: int) -> str:
    """A run id that sorts by time: UTC to the second and four random letters, `20261120-124501-k3f9`."""
    stamp = datetime.fromtimestamp(now_unix_ns // 1_000_000_000, UTC).strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{''.join(secrets.choice(_SUFFIX_LETTERS) for _ in range(4))}"


def list_runs(root: Path = RUNS) -> tuple[Path, ...]:
    """The folders of all runs under `root`, oldest first; empty if there is no such folder.

    Raises:
        StoreError: the folder cannot be read.
    """
    with renamed(f"cannot list the runs in {root}"):
        if not root.exists():
            return ()
        found = [(info.stat().st_mtime_ns, info.parent) for info in root.glob("*/run.json")]
    # Ids tell time to the second; within it the time of creation decides.
    return tuple(path for _, path in sorted(found, key=lambda f: (f[1].name[:_STAMP_LENGTH], f)))


def find_run(root: Path, name: str) -> Path:
    """The folder of the run that `name` means: its id, a prefix that only it has, its path, or `latest`.

    Raises:
        UnknownRun: none or several runs are meant; lists the nearest or the most recent ids.
    """
    by_id = {path.name: path for path in list_runs(root)}
    if name in by_id:
        return by_id[name]
    if name == "latest" and by_id:
        return list(by_id.values())[-1]
    if name and (Path(name) / "run.json").is_file():
        return Path(name)
    begun = [run_id for run_id in by_id if name and run_id.startswith(name)]
    if len(begun) == 1:
        return by_id[begun[0]]
    if begun:
        hint = f"write more of the id: {', '.join(begun[-_SHOWN:])}"
        raise UnknownRun(f"{len(begun)} runs begin with {name!r}", hint=hint)
    if not by_id:
        raise UnknownRun(f"no runs in {root}", hint="every command that measures makes one: try dyno demo")
    near = get_close_matches(name, by_id, _SHOWN)
    recent = ", ".join(list(reversed(by_id))[:_SHOWN])
    hint = f"did you mean {', '.join(near)}?" if near else f"most recent: {recent}"
    raise UnknownRun(f"no run {name!r} in {root}", hint=hint)
