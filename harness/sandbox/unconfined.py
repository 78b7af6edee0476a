"""No confinement at all, only with the user's explicit flag: limits, a time, and nothing left behind, that is all.

A command can read the hidden tests, write everywhere and use the network.
"""

from __future__ import annotations

from harness.sandbox.base import Completed, Policy
from harness.sandbox.execution import execute
from harness.sandbox.plan import unconfined_plan

__all__ = ["Unconfined"]


class Unconfined:
    """Runs commands as dyno's user."""

    name = "none"

    def run(self, argv: tuple[str, ...], policy: Policy, *, stdin: bytes = b"") -> Completed:
        """Run a command to its end, or to a limit; whatever it started is dead when this returns.

        Raises:
            SandboxError: it could not be started.
        """
        return execute(unconfined_plan(argv, policy), policy, stdin)
