"""The `test` tool: what a call runs is decided by the lever `tests.granularity`, not by the model's wish.

    suite   any call runs everything
    file    a call names a file, or a test whose file is then run
    test    a call names one test

A task that has no command for a granularity runs the next larger one that it has.
"""

from __future__ import annotations

import shlex
from typing import Literal

from backends.base import JsonObject
from harness.sandbox.base import Policy, Sandbox
from harness.tasks.base import Tests
from harness.tools.base import ToolResult, schema_of
from harness.tools.paths import PathError, Workspace
from harness.tools.shell import result_of, shell
from profiler.dispatch_records import Effect

__all__ = ["Granularity", "Testing", "granularity_in_force"]

Granularity = Literal["suite", "file", "test"]
_FROM_SMALL: tuple[Granularity, ...] = ("test", "file", "suite")


def granularity_in_force(tests: Tests, asked: Granularity) -> Granularity | None:
    """The granularity that a task can be tested at: the one that is asked for, or the next larger; `None`: none."""
    larger = _FROM_SMALL[_FROM_SMALL.index(asked) :]
    return next((size for size in larger if getattr(tests, size) is not None), None)


class Testing:
    """Runs the tests of a task at one granularity.

    Raises:
        SandboxError: the tests could not be started confined.
    """

    name = "test"
    effect: Effect = "verify"

    def __init__(
        self, tests: Tests, granularity: Granularity, workspace: Workspace, sandbox: Sandbox, policy: Policy
    ) -> None:
        self._command: str = getattr(tests, granularity)
        self._granularity: Granularity = granularity
        self._workspace = workspace
        self._sandbox = sandbox
        self._policy = policy
        self._example = tests.names or {"file": "tests/test_x.py", "test": "tests/test_x.py::test_y"}.get(
            granularity, ""
        )
        self.schema = self._schema()

    def run(self, arguments: JsonObject) -> ToolResult:
        """Run what the granularity allows for what was named; an error says what to name."""
        try:
            command = self._filled(arguments.get("name", "").strip())
        except PathError as error:
            return ToolResult(f"Error: {error}", ok=False)
        completed = self._sandbox.run((shell(), "-c", self._workspace.inward(command)), self._policy)
        return result_of(completed, self._workspace, self._policy)

    def _schema(self) -> JsonObject:
        if self._granularity == "suite":
            return schema_of(
                "test", "Run the whole test suite.", required={}, name={"type": "string", "description": "not needed"}
            )
        what = "the tests of one file" if self._granularity == "file" else "one test"
        named: JsonObject = {"type": "string", "description": f"such as {self._example}"}
        return schema_of("test", f"Run {what}.", required={}, name=named)

    def _filled(self, name: str) -> str:
        """The command for what was named.

        Raises:
            PathError: nothing that may be run alone was named.
        """
        if self._granularity == "suite":
            return self._command
        wanted = "a test file" if self._granularity == "file" else "one test"
        if not name or name.startswith("-") or "\0" in name:
            raise PathError(f"name {wanted}, such as {self._example}; the whole suite cannot be run")
        path, separator, inner = name.partition("::")
        place = self._workspace.resolve(path)
        path = self._workspace.name(place) if place.exists() else path
        if place.is_dir():
            raise PathError(f"{name} is a folder; name {wanted}, such as {self._example}")
        if self._granularity == "file":
            return self._command.replace("{file}", shlex.quote(path))
        last = inner.rpartition("::")[2]
        if place.is_file() and (not separator or last.startswith("Test")):
            raise PathError(f"{name} has several tests; name one test, such as {self._example}")
        test = f"{path}{separator}{inner}"
        return self._command.replace("{test}", shlex.quote(test)).replace("{file}", shlex.quote(path))
