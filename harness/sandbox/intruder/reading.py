"""Attempts to read what is not granted. Standard library only: this runs inside."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.sandbox.intruder.attempt import NotApplicableError, Scene


def read_canary(scene: Scene) -> str:
    """A file."""
    return f"read {len(Path(scene['canary']).read_bytes())} bytes"


def read_through_link(scene: Scene) -> str:
    """A file, through a link in the workspace."""
    Path("reading").symlink_to(scene["canary"])
    return f"read {len(Path('reading').read_bytes())} bytes"


def read_through_processes(scene: Scene) -> str:
    """A file, through the view of other processes."""
    error: OSError = FileNotFoundError(2, "No such file or directory")
    for pid in (1, os.getppid(), scene["sibling_pid"]):
        place = f"/proc/{pid}/root{scene['canary']}"
        try:
            return f"read {len(Path(place).read_bytes())} bytes as process {pid} sees it"
        except OSError as held:
            error = held
    raise error


def list_folder(scene: Scene) -> str:
    """The names in a folder."""
    names = os.listdir(str(scene["outside"]))
    return f"found {len(names)} names"


def read_dyno(scene: Scene) -> str:
    """The source of dyno, which makes the hidden tests."""
    return f"read {len(Path(scene['dyno_source']).read_bytes())} bytes"


def read_secrets(_scene: Scene) -> str:
    """What only the machine's root may read."""
    return f"read {len(Path('/etc/shadow').read_bytes())} bytes"


def read_environment(scene: Scene) -> str:
    """The environment of another process of this user, which may hold keys."""
    if sys.platform != "linux":
        raise NotApplicableError("no /proc")
    place = Path("/proc", str(scene["sibling_pid"]), "environ")
    if scene["token"].encode() not in place.read_bytes():
        raise OSError(3, "it is another process")
    return "read it"


def inherited_handles(_scene: Scene) -> str:
    """Handles that dyno left open."""
    found: list[str] = []
    for handle in range(3, 256):
        try:
            os.fstat(handle)
        except OSError:
            continue
        found.append(str(handle))
    if not found:
        raise OSError(9, "none is open")
    return f"has {', '.join(found)}"
