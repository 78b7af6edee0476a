"""What the launcher is told: the steps of confinement for one command, as plain values. Nothing is run here."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from harness.sandbox.base import Policy
from harness.sandbox.places import environment
from harness.sandbox.toolchain import INNER_ID

__all__ = ["Plan", "limits_of", "unconfined_plan"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The steps for one command; the defaults confine nothing.

    `mounts` are (kind, source, place, data) in order; `rules` (path, rights) of Landlock; `limits` (name, value) of
    `resource`; `filter` a program for the kernel's filter of system calls.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    processes: int
    confined: bool = False
    namespaces: bool = False
    own_network: bool = False
    loopback: bool = False
    inner_id: int = INNER_ID
    root: str = ""
    mounts: tuple[tuple[str, str, str, str], ...] = ()
    rules: tuple[tuple[str, int], ...] = ()
    handled_files: int = 0
    handled_network: int = 0
    scoped: int = 0
    ruleset_bytes: int = 0
    filter: bytes = b""
    limits: tuple[tuple[str, int], ...] = ()

    def plain(self) -> dict[str, Any]:
        """As built-in types, which the launcher reads without a library."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


def unconfined_plan(argv: tuple[str, ...], policy: Policy) -> Plan:
    """A command with its environment and its limits, and nothing that confines it."""
    return Plan(
        argv=argv,
        env=environment(policy),
        cwd=os.path.realpath(policy.workspace),
        limits=limits_of(policy),
        processes=policy.processes,
    )


def limits_of(policy: Policy) -> tuple[tuple[str, int], ...]:
    """Resource limits by their names in `resource`; the one for processes is set by the launcher, who counts them."""
    limits = [
        ("RLIMIT_CORE", 0),
        ("RLIMIT_CPU", policy.cpu_s),
        ("RLIMIT_FSIZE", policy.file_bytes),
        ("RLIMIT_NOFILE", policy.open_files),
    ]
    if policy.memory_bytes is not None:
        limits.append(("RLIMIT_DATA", policy.memory_bytes))
    return tuple(limits)
