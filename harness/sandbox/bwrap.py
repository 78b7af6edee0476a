"""bubblewrap: the same file system of granted places, made by the `bwrap` program instead of by dyno's own namespaces.

It works where a distribution forbids user namespaces to all programs but this one. It runs under dyno's launcher, which
sets the limits and ends everything; processes are bounded by dyno's watch alone. The exit code is bubblewrap's: above
128 it stands for a signal. Verified with bubblewrap 0.8.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec

from harness.sandbox.base import Completed, Policy
from harness.sandbox.execution import execute
from harness.sandbox.landlock import HINT, mounts_of
from harness.sandbox.places import environment, places
from harness.sandbox.plan import Plan, limits_of
from harness.sandbox.toolchain import INNER_ID

__all__ = ["Bubblewrap"]

_FIRST_SIGNAL: Final = 128


class Bubblewrap:
    """Runs commands in bubblewrap 0.8 or newer."""

    name = "bwrap"

    def __init__(self, program: str = "bwrap") -> None:
        self._program = program

    def run(self, argv: tuple[str, ...], policy: Policy, *, stdin: bytes = b"") -> Completed:
        """Run a command to its end, or to a limit; whatever it started is dead when this returns.

        Raises:
            SandboxError: it could not be started.
        """
        completed = execute(self.plan(argv, policy), policy, stdin, hint=HINT)
        if completed.exit_code > _FIRST_SIGNAL:
            return msgspec.structs.replace(completed, exit_code=_FIRST_SIGNAL - completed.exit_code)
        return completed

    def plan(self, argv: tuple[str, ...], policy: Policy) -> Plan:
        """The steps for one command: bubblewrap is the command that the launcher starts."""
        mounts = mounts_of(places(policy), policy)
        return Plan(
            argv=(self._program, *_options(policy, mounts), "--", *argv),
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            cwd="/",
            mounts=mounts,
            limits=limits_of(policy),
            processes=policy.processes,
        )


def _options(policy: Policy, mounts: tuple[tuple[str, str, str, str], ...]) -> tuple[str, ...]:
    options = ["--unshare-user", "--uid", str(INNER_ID), "--gid", str(INNER_ID), "--disable-userns"]
    options += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "dyno"]
    if policy.network != "host":
        options.append("--unshare-net")
    options += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    for name, value in environment(policy).items():
        options += ["--setenv", name, value]
    sealed: list[str] = []
    for kind, source, place, data in mounts:
        if kind in ("tmpfs", "mask"):
            settings = dict(setting.split("=") for setting in data.split(","))
            options += ["--perms", settings["mode"], "--size", settings["size"], "--tmpfs", place]
            sealed += ["--remount-ro", place] if kind == "mask" else []
        elif kind == "proc":
            options += ["--proc", place]
            sealed += ["--remount-ro", place]
        else:
            name = {"read": "--ro-bind", "write": "--bind", "device": "--dev-bind", "link": "--symlink"}[kind]
            options += [name, source, place]
    return (*options, *sealed, "--remount-ro", "/", "--chdir", os.path.realpath(policy.workspace))
