"""macOS: a Seatbelt profile by `sandbox-exec`, which is deprecated and on every Mac. Not verified: no Mac was at hand.

Reads and writes are denied but for what is granted, and the network is closed; the profile language has no namespaces,
so processes are seen, and a task that needs a loopback can also reach servers of this machine, the engine's among them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from harness.sandbox.base import Completed, Policy
from harness.sandbox.execution import execute
from harness.sandbox.places import MAC, Place, environment, hidden_inside, places
from harness.sandbox.plan import Plan, limits_of

__all__ = ["SANDBOX_EXEC", "Seatbelt", "profile"]

SANDBOX_EXEC: Final = Path("/usr/bin/sandbox-exec")
HINT: Final = "dyno may itself run in a sandbox; start it from a terminal, or run with --unsafe-no-sandbox"

_NETWORK: Final = {
    "none": ["(deny network*)"],
    "loopback": [
        "(deny network*)",
        '(allow network-bind network-inbound (local ip "localhost:*"))',
        '(allow network-outbound (remote ip "localhost:*"))',
    ],
    "host": ["(allow network*)"],
}


class Seatbelt:
    """Runs commands under a profile."""

    name = "seatbelt"

    def run(self, argv: tuple[str, ...], policy: Policy, *, stdin: bytes = b"") -> Completed:
        """Run a command to its end, or to a limit; whatever it started is dead when this returns.

        Raises:
            SandboxError: it could not be started.
        """
        return execute(self.plan(argv, policy), policy, stdin, hint=HINT)

    def plan(self, argv: tuple[str, ...], policy: Policy) -> Plan:
        """The steps for one command: `sandbox-exec` is the command that the launcher starts."""
        return Plan(
            argv=(str(SANDBOX_EXEC), "-p", profile(places(policy, MAC), policy), *argv),
            env=environment(policy),
            cwd=os.path.realpath(policy.workspace),
            limits=limits_of(policy),
            processes=policy.processes,
        )


def profile(visible: tuple[Place, ...], policy: Policy) -> str:
    """The profile for these places. The last rule that matches counts, so what is hidden comes after what it lies in,
    and a narrower grant after that.
    """
    lines = [
        "(version 1)",
        "(deny default)",
        "(allow process-fork process-exec)",
        "(allow signal (target same-sandbox))",
        "(allow process-info* (target same-sandbox))",
        "(allow sysctl-read)",
        "(allow ipc-posix-sem ipc-posix-shm)",
        '(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))',
        "(allow file-read-metadata)",
        '(allow file-read* (literal "/") (literal "/dev/null") (literal "/dev/zero") (literal "/dev/random")'
        ' (literal "/dev/urandom") (literal "/dev/tty") (subpath "/dev/fd"))',
        '(allow file-write-data (literal "/dev/null") (literal "/dev/zero") (literal "/dev/tty") (subpath "/dev/fd"))',
    ]
    for place in visible:
        if place.access == "link":
            continue
        kinds = "file-read* file-write*" if place.access == "write" else "file-read*"
        lines.append(f"(allow {kinds} (subpath {_quoted(place.path)}))")
        lines += [f"(deny file-read* (subpath {_quoted(hidden)}))" for hidden in hidden_inside(place.path)]
    return "\n".join([*lines, *_NETWORK[policy.network]]) + "\n"


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
