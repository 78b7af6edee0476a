"""The `submit` tool: the agent says that its work is done, and what it did."""

from __future__ import annotations

from backends.base import JsonObject
from harness.tools.base import ToolResult, schema_of
from profiler.dispatch_records import Effect

__all__ = ["Submit"]


class Submit:
    """Ends the work. `message` is the agent's last word."""

    name = "submit"
    effect: Effect = "finish"
    schema = schema_of(
        "submit",
        "Hand in the finished work. Say what you did.",
        required={},
        message={"type": "string"},
    )

    def run(self, arguments: JsonObject) -> ToolResult:
        """End the work."""
        return ToolResult("Submitted.", finished=True)
