"""Attempts on processes outside, on their number, and to outlive a command. Standard library only: this runs inside."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from harness.sandbox.intruder.attempt import Scene, libc_call

PTRACE_SEIZE = 0x4206
MOST_FORKS = 600
LONG_S = 60


def see_sibling(scene: Scene) -> str:
    """Another process of this user."""
    if sys.platform == "linux":
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and scene["token"] in Path(f"/proc/{name}/cmdline").read_text(errors="replace"):
                    return f"sees process {name}"
            except OSError:
                continue
        raise OSError(3, "not among the processes that it sees")
    os.kill(scene["sibling_pid"], 0)
    return "sees it"


def kill_sibling(scene: Scene) -> str:
    """Another process of this user."""
    os.kill(scene["sibling_pid"], signal.SIGTERM)
    return "sent a signal"


def trace_sibling(scene: Scene) -> str:
    """The memory of another process of this user."""
    libc_call("ptrace", PTRACE_SEIZE, scene["sibling_pid"], None, None)
    return "traces it"


def fork_bomb(_scene: Scene) -> str:
    """More processes than are allowed."""
    for count in range(MOST_FORKS):
        try:
            child = os.fork()
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror} after {count} processes") from error
        if child == 0:
            signal.pause()
    time.sleep(2)
    return f"started {MOST_FORKS} processes"


def stay(scene: Scene) -> str:
    """A process that made itself a daemon, and one that will not end in its time."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(60)", scene["daemon_token"]])
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(LONG_S)
    return "was not ended"
