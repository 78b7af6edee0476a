"""What a sandbox is: it runs one command of a task, confined, and says what it holds. Runs nothing here.

A back end is one file beside this one. Tools run inside; the agent loop, which talks to the engine, stays outside, so
the inside needs no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import msgspec

from profiler.dispatch_records import Capabilities

__all__ = ["Capabilities", "Completed", "Network", "Policy", "Sandbox", "SandboxError", "StoppedBy"]

Network = Literal["none", "loopback", "host"]
StoppedBy = Literal["wall", "disk", "processes"]
"""What ended a command: its time, the size of its workspace, or the number of its processes."""


class SandboxError(Exception):
    """No sandbox works here, or a command could not be started in one. `hint` says what to do next (exit code 3)."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Policy(msgspec.Struct, frozen=True):
    """What one command may do. System folders and the Python toolchain are readable beside `readable`.

    `workspace` is the working directory, the only folder that may be written beside `writable`; its `.home` and `.tmp`
    are the command's HOME and TMPDIR. Limits are for each process; `wall_s`, `processes` and `workspace_bytes`, what
    all files of the workspace may take on the disk, are for the command.
    """

    workspace: Path
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    network: Network = "none"
    wall_s: float = 120.0
    cpu_s: int = 120
    file_bytes: int = 64 * 2**20
    open_files: int = 512
    processes: int = 128
    memory_bytes: int | None = None
    output_bytes: int = 2**20
    workspace_bytes: int = 512 * 2**20
    env: dict[str, str] = {}


class Completed(msgspec.Struct, frozen=True):
    """What a command did. `exit_code` is negative for a signal; `output` is its two streams as they came, in order.
    `stopped_by` says which limit ended it, `None` if it ended by itself.

    `output_bytes` counts all of it, also what was more than the policy keeps.
    """

    exit_code: int
    output: bytes
    output_bytes: int
    timed_out: bool
    duration_ns: int
    stopped_by: StoppedBy | None = None


class Sandbox(Protocol):
    """A way to confine commands on this machine."""

    name: str

    def run(self, argv: tuple[str, ...], policy: Policy, *, stdin: bytes = b"") -> Completed:
        """Run a command to its end, or to its time limit; whatever it started is dead when this returns.

        Raises:
            SandboxError: it could not be started confined.
        """
        ...
