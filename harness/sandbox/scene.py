"""What the battery breaks in for: canary files, servers, a process of ours, outside of the sandbox, and whether they
are whole.

Everything is made in dyno's own folder of this user and goes with it; a server listens on this machine alone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil

from harness.sandbox.toolchain import toolchain
from harness.workspace import empty, user_folder

__all__ = ["Outside", "outside"]

CONTENT: Final = b"canary"
MODE: Final = 0o600
CHANGED_UNIX_S: Final = 1_000_000_000


class Outside:
    """The scene, and what became of it. `workspace` is the folder for the commands that attack it."""

    def __init__(
        self, folder: Path, servers: dict[str, Any], udp: socket.socket, sibling: subprocess.Popen[bytes]
    ) -> None:
        self.folder = folder / "outside"
        self.workspace = folder / "workspace"
        self.canary = self.folder / "canary"
        self.removable = self.folder / "removable"
        self.token = servers["token"]
        self.daemon_token = f"daemon-{self.token}"
        self._servers = servers
        self._udp = udp
        self._sibling = sibling

    def restore(self) -> None:
        """Make files and workspace as they are at the beginning."""
        empty(self.workspace)
        for file in (self.canary, self.removable):
            file.write_bytes(CONTENT)
            file.chmod(MODE)
            os.utime(file, (CHANGED_UNIX_S, CHANGED_UNIX_S))

    def described(self, **more: int) -> dict[str, Any]:
        """What the intruder is told."""
        device = _block_device()
        return {
            "outside": str(self.folder),
            "canary": str(self.canary),
            "removable": str(self.removable),
            "granted": str(toolchain().folder / "pyvenv.cfg"),
            "dyno_source": str(Path(__file__).resolve().parents[1] / "tasks" / "__init__.py"),
            "sibling_pid": self._sibling.pid,
            "device": device,
            "device_number": Path(device).stat().st_rdev if device else 0,
            "daemon_token": self.daemon_token,
            **self._servers,
            **more,
        }

    def damage(self) -> dict[str, str]:
        """What was really done to the scene, by the attempt that does it."""
        found: dict[str, str] = {}
        names = {file.name for file in self.folder.iterdir()}
        state = self.canary.stat() if "canary" in names else None
        if state is None or self.canary.read_bytes() != CONTENT:
            found["write_existing"] = "the file is another one"
        elif stat.S_IMODE(state.st_mode) != MODE:
            found["change_mode"] = "the mode is another one"
        elif state.st_mtime != CHANGED_UNIX_S:
            found["change_times"] = "the times are others"
        for name, attempt in (("new", "write_new"), ("moved", "move_out")):
            if name in names:
                found[attempt] = "the file is there"
        if "removable" not in names:
            found["remove"] = "the file is gone"
        with suppress(BlockingIOError):
            self._udp.recv(64)
            found["udp"] = "it came"
        if self._sibling.poll() is not None:
            found["kill_sibling"] = "the process is dead"
        return found

    def left_behind(self) -> list[int]:
        """Processes of the daemon attempt that are still there; they are ended."""
        found: list[int] = []
        for process in psutil.process_iter(["cmdline"]):
            if self.daemon_token in (process.info["cmdline"] or ()):
                found.append(process.pid)
                with suppress(psutil.Error):
                    process.kill()
        return found


@contextmanager
def outside() -> Generator[Outside]:
    """Make the scene, and remove it."""
    token = secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix="battery-", dir=user_folder()))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "outside").mkdir()
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        path = folder / "outside" / "socket"
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(path))
        unix.listen()
        servers = {
            "token": token,
            "tcp_port": tcp.getsockname()[1],
            "tcp6_port": _tcp6(stack),
            "udp_port": udp.getsockname()[1],
            "unix_path": str(path),
            "abstract": _abstract(stack, token),
        }
        sibling = subprocess.Popen(
            [str(toolchain().base_python), "-I", "-S", "-c", "import sys; sys.stdin.read()", token],
            stdin=subprocess.PIPE,
            env={"DYNO_BATTERY": token},
        )
        stack.callback(_end, sibling)
        scene = Outside(folder, servers, udp, sibling)
        scene.restore()
        yield scene


def _tcp6(stack: ExitStack) -> int:
    try:
        server = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
    except OSError:
        return 0
    return int(server.getsockname()[1])


def _abstract(stack: ExitStack, token: str) -> str:
    if sys.platform != "linux":
        return ""
    server = stack.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(f"\0dyno-{token}")
    server.listen()
    return f"dyno-{token}"


def _block_device() -> str:
    for entry in sorted(os.scandir("/dev"), key=lambda found: found.name, reverse=True):
        with suppress(OSError):
            if stat.S_ISBLK(entry.stat(follow_symlinks=False).st_mode):
                return entry.path
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
