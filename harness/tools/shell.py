"""The `bash` tool: a command of the model's, confined, in the workspace."""

from __future__ import annotations

import re
from pathlib import Path

from backends.base import JsonObject
from harness.sandbox.base import Completed, Policy, Sandbox
from harness.tools.base import ToolResult, schema_of
from harness.tools.paths import Workspace, settled
from profiler.dispatch_records import Effect

__all__ = ["Bash", "result_of", "shell"]

_LIMITS: dict[str, str] = {
    "disk": "the files of the workspace took too much space",
    "processes": "it started too many processes",
}

_DENIED = re.compile(
    r"permission denied|operation not permitted|read-only file system|\bEACCES\b|\bEPERM\b|network is unreachable",
    re.IGNORECASE,
)


class Bash:
    """Runs a command; nothing of it outlives the call, and the next one starts in the workspace again.

    Raises:
        SandboxError: the command could not be started confined.
    """

    name = "bash"
    effect: Effect = "execute"

    def __init__(self, workspace: Workspace, sandbox: Sandbox, policy: Policy) -> None:
        self._workspace = workspace
        self._sandbox = sandbox
        self._policy = policy
        self.schema = schema_of(
            "bash",
            f"Run a command in the workspace. It is ended after {policy.wall_s:g} seconds.",
            required={"command": {"type": "string"}},
        )

    def run(self, arguments: JsonObject) -> ToolResult:
        """Run the command."""
        command: str = arguments["command"]
        if "\0" in command:
            return ToolResult("Error: a command cannot hold a zero byte", ok=False)
        completed = self._sandbox.run((shell(), "-c", self._workspace.inward(command)), self._policy)
        return result_of(completed, self._workspace, self._policy)


def shell() -> str:
    """The shell that runs commands: bash where it is, else what every system has."""
    return "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"


def result_of(completed: Completed, workspace: Workspace, policy: Policy) -> ToolResult:
    """What a command did, as the model is shown it: the same text for the same work."""
    text = settled(workspace.outward(completed.output.decode("utf-8", "replace"))).rstrip("\n")
    lines = [text] if text else []
    if completed.output_bytes > len(completed.output):
        lines.append(f"[{completed.output_bytes - len(completed.output)} bytes of output were not kept]")
    if completed.timed_out:
        lines.append(f"[ended: it took longer than {policy.wall_s:g} seconds]")
    elif completed.stopped_by is not None:
        lines.append(f"[ended: {_LIMITS.get(completed.stopped_by, completed.stopped_by)}]")
    elif completed.exit_code != 0:
        lines.append(f"[exit code {completed.exit_code}]")
    return ToolResult(
        "\n".join(lines) or "(no output)",
        ok=completed.exit_code == 0 and not completed.timed_out,
        exit_code=completed.exit_code,
        timed_out=completed.timed_out,
        denied=completed.exit_code != 0 and bool(_DENIED.search(text)),
    )
