"""A sandbox that confines nothing, for tests whose subject is a task: it runs a command as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from harness.sandbox.base import Completed, Policy


class BareSandbox:
    """Runs a command in its workspace, with the environment that the policy names and a time limit; no more."""

    name = "bare"

    def run(self, argv: tuple[str, ...], policy: Policy, *, stdin: bytes = b"") -> Completed:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        env = {"PATH": path, "HOME": str(policy.workspace), "PYTHONDONTWRITEBYTECODE": "1", **policy.env}
        started = time.monotonic_ns()
        try:
            done = subprocess.run(
                argv, cwd=policy.workspace, env=env, input=stdin, timeout=policy.wall_s, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            return Completed(-9, error.output or b"", 0, True, time.monotonic_ns() - started)
        return Completed(done.returncode, done.stdout, len(done.stdout), False, time.monotonic_ns() - started)
