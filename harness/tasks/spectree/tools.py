"""The tools of the pack: create, update and delete goals, features and requirements, beside read, list, grep and write.

Each call goes into a ledger of JSON lines outside of the workspace. What a call does to files: `documents`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from backends.base import JsonObject
from harness.tasks.base import Task
from harness.tasks.spectree.documents import Documents, DocumentsError, Written
from harness.tasks.spectree.tree import LAYERS, STATUSES
from harness.tools.base import Tool, ToolResult, schema_of
from harness.tools.files import grep_tool, list_tool, read_tool, write_tool
from harness.tools.paths import Workspace as WorkspacePaths
from harness.tools.submit import Submit
from profiler.dispatch_records import Effect

__all__ = ["make_tools", "specification_tools"]

_TITLE: JsonObject = {"type": "string", "description": "A short title."}
_BODY: JsonObject = {"type": "string", "description": "The description, in Markdown, without the title."}
_STATUS: JsonObject = {"type": "string", "enum": list(STATUSES)}
_PARENTS: dict[str, JsonObject] = {
    "feature": {"type": "string", "description": "The goal (G-001) or the feature (F-0001) that it belongs to."},
    "requirement": {"type": "string", "description": "The feature (F-0001) that it belongs to."},
}
_IDS = {"goal": "G-001", "feature": "F-0001", "requirement": "R-0001"}


class _DocumentTool:
    """A tool that changes the tree; what cannot be done is told to the agent."""

    effect: Effect = "edit"

    def __init__(self, name: str, schema: JsonObject, act: Callable[[JsonObject], Written], done: str) -> None:
        self.name = name
        self.schema = schema
        self._act = act
        self._done = done

    def run(self, arguments: JsonObject) -> ToolResult:
        """Write, move or remove the file."""
        try:
            written = self._act(arguments)
        except DocumentsError as error:
            return ToolResult(f"Error: {error}", ok=False)
        return ToolResult(f"{self._done} {written.id}: {written.path}", changed=written.changed)


class _Noted:
    """A tool whose calls are written down."""

    def __init__(self, tool: Tool, ledger: Path) -> None:
        self.name = tool.name
        self.effect: Effect = tool.effect
        self.schema = tool.schema
        self._tool = tool
        self._ledger = ledger

    def run(self, arguments: JsonObject) -> ToolResult:
        """Run the tool and note the call, its arguments and whether it did what was asked."""
        result = self._tool.run(arguments)
        row = {"name": self.name, "arguments": arguments, "ok": result.ok}
        with self._ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return result


def specification_tools(workspace: Path) -> tuple[Tool, ...]:
    """The tools that write the tree in `speclan/` of a workspace."""
    documents = Documents(workspace)
    tools: list[Tool] = []
    for layer in LAYERS:
        tools += [_create(documents, layer), _update(documents, layer), _delete(documents, layer)]
    vision = schema_of("write_vision", "Write what the whole product is for.", required={"body": _BODY})
    tools.append(_DocumentTool("write_vision", vision, lambda given: documents.write_vision(given["body"]), "Wrote"))
    return tuple(tools)


def _create(documents: Documents, layer: str) -> Tool:
    above = {"parent": _PARENTS[layer]} if layer in _PARENTS else {}
    name = f"create_{layer}"
    schema = schema_of(
        name,
        f"Create a {layer}; its id is in the answer.",
        required={"title": _TITLE, **above},
        body=_BODY,
        status=_STATUS,
    )
    return _DocumentTool(name, schema, lambda given: documents.create(layer, **given), "Created")


def _update(documents: Documents, layer: str) -> Tool:
    above = {"parent": _PARENTS[layer]} if layer in _PARENTS else {}
    name = f"update_{layer}"
    schema = schema_of(
        name, f"Change a {layer}.", required={"id": _id(layer)}, title=_TITLE, **above, body=_BODY, status=_STATUS
    )

    def act(given: JsonObject) -> Written:
        return documents.update(layer, given["id"], **{key: given[key] for key in given if key != "id"})

    return _DocumentTool(name, schema, act, "Updated")


def _delete(documents: Documents, layer: str) -> Tool:
    name = f"delete_{layer}"
    schema = schema_of(name, f"Delete a {layer} that nothing belongs to.", required={"id": _id(layer)})
    return _DocumentTool(name, schema, lambda given: documents.delete(layer, given["id"]), "Deleted")


def _id(layer: str) -> JsonObject:
    return {"type": "string", "description": f"Its id, such as {_IDS[layer]}."}


def make_tools(task: Task, workspace: Path, ledger: Path | None) -> tuple[Tool, ...]:
    """The pack's tools over a workspace, in the order in which they are offered; calls are appended to `ledger`."""
    place = WorkspacePaths(workspace)
    reading = (read_tool(place), list_tool(place), grep_tool(place))
    tools: tuple[Tool, ...] = (*reading, *specification_tools(workspace), write_tool(place), Submit())
    return tools if ledger is None else tuple(_Noted(tool, ledger) for tool in tools)
