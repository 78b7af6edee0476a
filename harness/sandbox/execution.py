"""Carries out a plan: starts the launcher, feeds and reads the command, ends it at a limit, leaves nothing behind.

What it watches itself, five times a second, is what no resource limit bounds: the time, the size of the workspace, and
the number of processes. It knows no back end.
"""

from __future__ import annotations

import marshal
import os
import selectors
import signal
import socket
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import psutil

from harness.sandbox.base import Completed, Policy, SandboxError, StoppedBy
from harness.sandbox.folder_size import size_bytes
from harness.sandbox.plan import Plan
from harness.sandbox.toolchain import toolchain
from harness.workspace import remove

__all__ = ["execute"]

WATCH_S: Final = 0.2
WATCH_SHARE: Final = 0.1
"""Of the time, at most this much is spent on looking; a large workspace is looked at less often."""

END_S: Final = 5.0
"""How long the launcher may take to kill what it started."""

_ROOT: Final = str(Path(__file__).resolve().parents[2])
_START: Final = f"import sys; sys.path.append({_ROOT!r}); from harness.sandbox.launcher import main; main()"
_CHUNK: Final = 1 << 16
_KILLED: Final = -9


def execute(plan: Plan, policy: Policy, stdin: bytes = b"", *, hint: str | None = None) -> Completed:
    """Run the plan's command to its end or to a limit.

    Args:
        plan: the steps of the launcher.
        policy: the limits that are watched from here.
        stdin: what the command can read.
        hint: what to do if the command cannot be started confined.

    Raises:
        SandboxError: a step of the plan failed, or the launcher could not be started.
    """
    _prepare(policy.workspace.resolve(), plan)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            started_ns = time.monotonic_ns()
            try:
                child = subprocess.Popen(
                    [str(toolchain().base_python), "-I", "-S", "-c", _START, str(theirs.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    cwd="/",
                    env={},
                    bufsize=0,
                )
            except OSError as error:
                raise SandboxError(f"a command could not be started: {error.strerror}", hint) from error
        running = _Running(child, ours, policy, stdin, started_ns)
        data = marshal.dumps(plan.plain())
        try:
            ours.sendall(struct.pack("I", len(data)) + data)
            return running.to_the_end()
        except _Fault as fault:
            raise SandboxError(f"a command could not be confined: {fault}", hint) from None
        finally:
            running.end()


class _Fault(Exception):
    """What the launcher said went wrong."""


class _Running:
    """A command that runs: its output so far, and what is known of its end."""

    def __init__(
        self, child: subprocess.Popen[bytes], control: socket.socket, policy: Policy, stdin: bytes, started_ns: int
    ) -> None:
        self._child, self._control, self._policy = child, control, policy
        self._unsent = memoryview(stdin)
        self._started_ns = started_ns
        self._kept = bytearray()
        self._output_bytes = 0
        self._told = b""
        self._started: int | None = None
        self._exit_code: int | None = None
        self._stopped_by: StoppedBy | None = None
        self._selector = selectors.DefaultSelector()
        assert child.stdout is not None
        assert child.stdin is not None
        for file in (child.stdout, child.stdin, control):
            os.set_blocking(file.fileno(), False)
        self._selector.register(child.stdout, selectors.EVENT_READ, self._read)
        self._selector.register(control, selectors.EVENT_READ, self._listen)
        if stdin:
            self._selector.register(child.stdin, selectors.EVENT_WRITE, self._write)
        else:
            child.stdin.close()

    def to_the_end(self) -> Completed:
        """Attend the command until nothing of it is left."""
        deadline_ns = self._started_ns + int(self._policy.wall_s * 1e9)
        watch_ns = self._started_ns + int(WATCH_S * 1e9)
        while self._selector.get_map():
            now_ns = time.monotonic_ns()
            if now_ns >= deadline_ns:
                self._stop("wall")
                deadline_ns = now_ns + int(END_S * 1e9)
            if now_ns >= watch_ns:
                self._watch()
                looked_ns = time.monotonic_ns() - now_ns
                watch_ns = now_ns + max(int(WATCH_S * 1e9), int(looked_ns / WATCH_SHARE))
            wait_s = max(0, min(deadline_ns, watch_ns) - time.monotonic_ns()) / 1e9
            for key, _ in self._selector.select(wait_s):
                key.data()
            if self._child.poll() is not None and not self._selector.select(0):
                break
        self._child.wait()
        if self._started is None and self._stopped_by is None:
            raise _Fault(self._kept.decode("utf-8", "replace").strip() or "the launcher was killed")
        return Completed(
            exit_code=_KILLED if self._exit_code is None else self._exit_code,
            output=bytes(self._kept),
            output_bytes=self._output_bytes,
            timed_out=self._stopped_by == "wall",
            duration_ns=time.monotonic_ns() - self._started_ns,
            stopped_by=self._stopped_by,
        )

    def end(self) -> None:
        """Have the launcher kill everything, and collect it."""
        self._control.close()
        try:
            self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._child.wait()
        for file in (self._child.stdin, self._child.stdout):
            if file is not None:
                file.close()
        self._selector.close()

    def _stop(self, reason: StoppedBy) -> None:
        """Have the launcher kill everything and end; the second time, kill the launcher."""
        if self._stopped_by is not None:
            self._kill()
            return
        self._stopped_by = reason
        self._control.shutdown(socket.SHUT_WR)

    def _kill(self) -> None:
        """Kill the launcher and the command's own group of processes, without asking it to."""
        self._child.kill()
        if self._started is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._started, signal.SIGKILL)

    def _watch(self) -> None:
        if self._stopped_by is None:
            if size_bytes(self._policy.workspace) > self._policy.workspace_bytes:
                self._stop("disk")
            elif _descendants(self._child.pid) > self._policy.processes + 2:
                self._stop("processes")

    def _read(self) -> None:
        assert self._child.stdout is not None
        data = os.read(self._child.stdout.fileno(), _CHUNK)
        if not data:
            self._selector.unregister(self._child.stdout)
        self._output_bytes += len(data)
        self._kept += data[: max(0, self._policy.output_bytes - len(self._kept))]

    def _write(self) -> None:
        assert self._child.stdin is not None
        try:
            sent = os.write(self._child.stdin.fileno(), self._unsent[:_CHUNK])
        except BrokenPipeError:
            sent = len(self._unsent)
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._selector.unregister(self._child.stdin)
            self._child.stdin.close()

    def _listen(self) -> None:
        try:
            data = self._control.recv(_CHUNK)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(self._control)
            return
        self._told += data
        while len(self._told) >= 4 and len(self._told) >= (end := 4 + struct.unpack_from("I", self._told)[0]):
            message = cast("dict[str, Any]", marshal.loads(self._told[4:end]))
            self._told = self._told[end:]
            if "fault" in message:
                raise _Fault(message["fault"])
            self._started = message.get("started", self._started)
            self._exit_code = message.get("exit_code")
            self._stopped_by = message.get("stopped_by", self._stopped_by)


def _prepare(workspace: Path, plan: Plan) -> None:
    """HOME and TMPDIR as real folders that can be used: an earlier command may have put a link in their place.

    In a namespace `.tmp` is also `/tmp`, and the way to what is mounted there must lead through no link.
    """
    for folder in (workspace, workspace / ".home", workspace / ".tmp"):
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink(missing_ok=True)
            folder.mkdir(mode=0o700)
        if folder.stat().st_mode & 0o700 != 0o700:
            folder.chmod(0o700)
    for _, _, place, _ in plan.mounts:
        if place.startswith("/tmp/"):
            _without_links(workspace / ".tmp", Path(place).relative_to("/tmp"))


def _without_links(folder: Path, inner: Path) -> None:
    """Remove the first link on the way to a place. Real folders stay: a command that runs may have a mount there."""
    for part in inner.parts:
        folder = folder / part
        if folder.is_symlink():
            remove(folder)
            return


def _descendants(pid: int) -> int:
    try:
        return len(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return 0
