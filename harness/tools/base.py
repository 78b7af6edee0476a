"""What a tool of the agent is: a name, a schema, and what happens when it is called. Runs nothing here."""

from __future__ import annotations

from typing import Protocol

import msgspec

from backends.base import JsonObject
from profiler.dispatch_records import Effect

__all__ = ["Tool", "ToolResult", "schema_of"]


class ToolResult(msgspec.Struct, frozen=True):
    """What a call brought: the text for the model, uncut, and whether the tool did what was asked.

    `changed` are the files that it wrote or removed, relative to the workspace; a tool that runs commands leaves them
    to the caller, who compares the workspace before and after. `finished` ends the dispatch: the work is submitted.
    """

    text: str
    ok: bool = True
    exit_code: int | None = None
    timed_out: bool = False
    denied: bool = False
    changed: tuple[str, ...] = ()
    finished: bool = False


class Tool(Protocol):
    """One tool. Its arguments were checked against `schema` before it is run."""

    name: str
    effect: Effect
    schema: JsonObject
    """The function as chat requests describe it: `{"type": "function", "function": {…}}`."""

    def run(self, arguments: JsonObject) -> ToolResult:
        """Do it. What goes wrong in the work is a result with `ok=False`, not an error."""
        ...


def schema_of(name: str, description: str, /, *, required: dict[str, JsonObject], **optional: JsonObject) -> JsonObject:
    """A function's description; each parameter by its JSON Schema."""
    parameters: JsonObject = {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}
