"""Linux without any program to install: namespaces, Landlock and a filter of system calls, as far as they work here.

With namespaces a command has a file system of its own that holds only what it may see, its own processes, network and
users, and Landlock stands behind that. Without them (forbidden by AppArmor, in a container) Landlock alone confines
files and TCP; modes and owners of other files, and pathname sockets, are then out of its reach, and so are a loopback
of one's own and the view of other processes. What really holds is measured (`harness.sandbox.battery`), not read off
here.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Final

from harness.sandbox.base import Completed, Policy, SandboxError
from harness.sandbox.call_filter import filter_program
from harness.sandbox.execution import execute
from harness.sandbox.places import DEVICES, Place, environment, hidden_inside, pieces_around, places
from harness.sandbox.plan import Plan, limits_of
from harness.sandbox.toolchain import USERS, toolchain
from harness.workspace import user_folder

__all__ = ["Landlock", "landlock_version"]

READ: Final = 1 << 0 | 1 << 2 | 1 << 3
"""Run a file, read one, list a folder."""

LIST: Final = 1 << 3
WRITE: Final = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 14
"""Write, remove, make folders, files, sockets, pipes and links, move, truncate; not: make devices."""

DEVICE: Final = 1 << 1 | 1 << 2 | 1 << 15
_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights that a version of Landlock knows; the last ones hold for later versions too."""

TCP: Final = 0b11
SCOPED: Final = 0b11
"""No signal to a process outside, no abstract socket of one."""

SHM_BYTES: Final = 64 * 2**20
MASK_BYTES: Final = 64 * 2**10
HINT: Final = (
    "allow user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0, kernel.unprivileged_userns_clone=1),"
    " install the package bubblewrap, or run with --unsafe-no-sandbox"
)


@cache
def landlock_version() -> int:
    """The version of Landlock that the kernel has, 0 if none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(444, None, 0, 1))) if hasattr(os, "O_PATH") else 0


class Landlock:
    """Landlock and namespaces, each if asked for; `name` says which."""

    def __init__(self, *, landlock: bool = True, namespaces: bool = True) -> None:
        self.landlock = landlock
        self.namespaces = namespaces
        self.name = "+".join(name for name, used in (("landlock", landlock), ("namespaces", namespaces)) if used)

    def run(self, argv: tuple[str, ...], policy: Policy, *, stdin: bytes = b"") -> Completed:
        """Run a command to its end, or to a limit; whatever it started is dead when this returns.

        Raises:
            SandboxError: it could not be started confined, or asks for a loopback that only a namespace gives.
        """
        return execute(self.plan(argv, policy), policy, stdin, hint=HINT)

    def plan(self, argv: tuple[str, ...], policy: Policy) -> Plan:
        """The steps for one command."""
        if self.landlock and not landlock_version():
            raise SandboxError("this kernel has no Landlock", HINT)
        if policy.network == "loopback" and not self.namespaces:
            raise SandboxError("a loopback of its own needs a network namespace", HINT)
        visible = places(policy)
        own_network = self.namespaces and policy.network != "host"
        version = landlock_version() if self.landlock else 0
        return Plan(
            argv=argv,
            env=environment(policy),
            cwd=os.path.realpath(policy.workspace),
            confined=True,
            namespaces=self.namespaces,
            own_network=own_network,
            loopback=policy.network == "loopback",
            root=str(_empty_root()) if self.namespaces else "",
            mounts=mounts_of(visible, policy) if self.namespaces else (),
            processes=policy.processes,
            rules=self._rules(visible) if self.landlock else (),
            handled_files=_FILE_RIGHTS.get(version, _FILE_RIGHTS[5]) if version else 0,
            handled_network=TCP if version >= 4 and policy.network == "none" else 0,
            scoped=SCOPED if version >= 6 else 0,
            ruleset_bytes=24 if version >= 6 else 16 if version >= 4 else 8,
            filter=filter_program(sockets=own_network or policy.network != "none"),
            limits=limits_of(policy),
        )

    def _rules(self, visible: tuple[Place, ...]) -> tuple[tuple[str, int], ...]:
        rules: list[tuple[str, int]] = []
        for place in visible:
            if place.access == "write":
                rules.append((place.path, READ | WRITE))
            elif not self.namespaces and place.access == "read":
                for path, whole in pieces_around(place.path, hidden_inside(place.path)):
                    rules.append((path, READ if whole else LIST))
        rules += [(device, DEVICE) for device in DEVICES]
        if self.namespaces:
            rules += [("/", READ), ("/tmp", READ | WRITE), ("/dev/shm", READ | WRITE)]
        else:
            rules.append(("/proc", READ))
        known = _FILE_RIGHTS.get(landlock_version(), _FILE_RIGHTS[5])
        return tuple((path, rights & known) for path, rights in rules)


def mounts_of(visible: tuple[Place, ...], policy: Policy) -> tuple[tuple[str, str, str, str], ...]:
    """The mounts that make a file system of these places: (kind, source, place, data), in order.

    A place inside one that is already mounted needs no mount of its own, unless it lies in something hidden.
    """
    mounts: list[tuple[str, str, str, str]] = [
        ("proc", "", "/proc", ""),
        ("write", str(policy.workspace.resolve() / ".tmp"), "/tmp", ""),
        ("tmpfs", "", "/dev/shm", f"mode=1777,size={SHM_BYTES}"),
        *(("device", device, device, "") for device in DEVICES if Path(device).exists()),
        *(
            ("link", f"/proc/self/{target}", f"/dev/{name}", "")
            for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))
        ),
    ]
    seen: list[tuple[str, bool]] = []
    for place in visible:
        if place.access == "link":
            mounts.append(("link", place.target, place.path, ""))
            continue
        if place.access == "read" and _in_sight(place.path, seen):
            continue
        mounts.append((place.access, place.path, place.path, ""))
        seen.append((place.path, True))
        for hidden in hidden_inside(place.path):
            mounts.append(("mask", "", hidden, f"mode=755,size={MASK_BYTES}"))
            seen.append((hidden, False))
    mounts += [("read", str(toolchain().folder / name), f"/etc/{name}", "") for name in USERS]
    return tuple(mounts)


def _in_sight(path: str, seen: list[tuple[str, bool]]) -> bool:
    """Whether a path is visible by the last thing that was mounted over or around it."""
    around = [visible for folder, visible in seen if path == folder or path.startswith(folder + "/")]
    return bool(around) and around[-1]


def _empty_root() -> str:
    folder = user_folder() / "root"
    folder.mkdir(mode=0o700, exist_ok=True)
    return str(folder)
