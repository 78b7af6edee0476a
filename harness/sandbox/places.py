"""Which places a command may see: system folders, its Python, what its policy names, less what stays hidden inside of
those.

The same list becomes mounts, Landlock rules, arguments of bubblewrap or lines of a Seatbelt profile. Nothing is run
here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from harness.sandbox.base import Policy
from harness.sandbox.toolchain import USER, hidden_folders, toolchain

__all__ = ["DEVICES", "Place", "environment", "hidden_inside", "pieces_around", "places"]

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
MAC: Final = (
    "/usr",
    "/bin",
    "/sbin",
    "/System",
    "/Library",
    "/opt/homebrew",
    "/private/etc",
    "/private/var/db/timezone",
)
SETTINGS: Final = tuple(
    f"/etc/{name}"
    for name in """
    alternatives bash.bashrc debian_version group host.conf hosts inputrc ld.so.cache ld.so.conf ld.so.conf.d
    locale.alias localtime login.defs magic mime.types nsswitch.conf os-release passwd perl profile profile.d protocols
    services shells ssl/certs ssl/openssl.cnf pki/tls/certs terminfo timezone
    """.split()
)
"""Of /etc only what programs need: root could read its keys and shadow passwords."""

DEVICES: Final = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty"))


class Place(msgspec.Struct, frozen=True):
    """A file or folder that a command may read, or also write; a `link` leads to another one by `target`."""

    path: str
    access: Literal["read", "write", "link"]
    target: str = ""


def places(policy: Policy, system: tuple[str, ...] = (*SYSTEM, *SETTINGS)) -> tuple[Place, ...]:
    """Everything that a command may read or write, each after the ones that it lies in; devices aside."""
    found: list[Place] = []
    for path in system:
        if Path(path).is_symlink():
            found.append(Place(path, "link", str(Path(path).readlink())))
        elif Path(path).exists():
            found.append(Place(path, "read"))
    workspace = policy.workspace.resolve()
    for folder in (*toolchain().readable, *policy.readable):
        real = folder.resolve()
        if real.exists() and not real.is_relative_to(workspace):
            found.append(Place(str(real), "read"))
    for folder in policy.writable:
        real = folder.resolve()
        if not real.is_relative_to(workspace):
            found.append(Place(str(real), "write"))
    found.append(Place(str(workspace), "write"))
    return tuple(dict.fromkeys(found))


def hidden_inside(path: str) -> tuple[str, ...]:
    """What stays hidden although it lies in this folder."""
    return tuple(str(hidden) for hidden in hidden_folders() if Path(path) in hidden.parents)


def pieces_around(path: str, hidden: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """A folder in pieces that leave out what is hidden in it; `True`: with all that it holds, else its names alone."""
    if not hidden:
        yield path, True
        return
    yield path, False
    for entry in sorted(os.scandir(path), key=lambda found: found.name):
        if entry.path not in hidden and not entry.is_symlink():
            inner = tuple(place for place in hidden if Path(entry.path) in Path(place).parents)
            yield from pieces_around(entry.path, inner)


def environment(policy: Policy) -> dict[str, str]:
    """The environment of a command: nothing of dyno's own, which may hold keys."""
    workspace = policy.workspace.resolve()
    home = workspace / ".home"
    return {
        "PATH": f"{toolchain().bin}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(workspace / ".tmp"),
        "USER": USER,
        "LOGNAME": USER,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TZ": "UTC",
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "PYTHONDONTWRITEBYTECODE": "1",
        **policy.env,
    }
