"""Tools that read and change files, in our own process, inside the workspace alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from backends.base import JsonObject
from harness.tools import search
from harness.tools.base import Tool, ToolResult, schema_of
from harness.tools.paths import LARGEST_FILE_BYTES, PathError, Workspace
from harness.workspace import IGNORED
from profiler.dispatch_records import Effect

__all__ = ["FileTool", "edit_tool", "grep_tool", "list_tool", "read_tool", "write_tool"]

_TEXT: JsonObject = {"type": "string"}
_COUNT: JsonObject = {"type": "integer", "minimum": 1}
LISTED_LINES = 400
READ_LINES = 2000
SEARCH_S = 10.0


class FileTool:
    """A tool that is a function over the workspace; what it raises as `PathError` or `OSError` is its result."""

    def __init__(self, schema: JsonObject, effect: Effect, do: Callable[[JsonObject], ToolResult]) -> None:
        self.name: str = schema["function"]["name"]
        self.schema = schema
        self.effect: Effect = effect
        self._do = do

    def run(self, arguments: JsonObject) -> ToolResult:
        """Do it."""
        try:
            return self._do(arguments)
        except PathError as error:
            return ToolResult(f"Error: {error}", ok=False)
        except OSError as error:
            return ToolResult(f"Error: {error.strerror or 'the file cannot be used'}", ok=False)


def read_tool(workspace: Workspace) -> Tool:
    """`read`: a file with line numbers, or a part of it."""
    schema = schema_of(
        "read",
        "Read a file. Lines are numbered.",
        required={"path": _TEXT},
        offset={**_COUNT, "description": "first line"},
        limit={**_COUNT, "description": "number of lines"},
    )

    def read(arguments: JsonObject) -> ToolResult:
        place = workspace.file(arguments["path"])
        lines = place.read_text(encoding="utf-8", errors="replace").splitlines()
        first, limit = arguments.get("offset", 1), arguments.get("limit", READ_LINES)
        shown = lines[first - 1 : first - 1 + limit]
        if not lines:
            return ToolResult("(empty file)")
        if not shown:
            return ToolResult(f"Error: {workspace.name(place)} has only {len(lines)} lines", ok=False)
        text = "\n".join(f"{number:>5}  {line}" for number, line in enumerate(shown, first))
        if len(shown) < len(lines):
            text += f"\n(lines {first} to {first + len(shown) - 1} of {len(lines)})"
        return ToolResult(text)

    return FileTool(schema, "load", read)


def list_tool(workspace: Workspace) -> Tool:
    """`list`: the files below a folder, sorted; links are named, not followed."""
    schema = schema_of("list", "List the files below a folder.", required={}, path=_TEXT)

    def list_files(arguments: JsonObject) -> ToolResult:
        place = workspace.resolve(arguments.get("path", "."))
        if not place.is_dir():
            kind = "is a file" if place.exists() else "does not exist"
            return ToolResult(f"Error: {workspace.name(place)} {kind}", ok=False)
        found: list[str] = []
        for folder, folders, files in os.walk(place):
            folders[:] = sorted(name for name in folders if name not in IGNORED)
            here = Path(folder).relative_to(workspace.root)
            linked = [name for name in folders if Path(folder, name).is_symlink()]
            empty = [] if folders or files or folder == str(place) else [f"{here.as_posix()}/"]
            found += [*empty, *((here / name).as_posix() for name in [*files, *linked])]
        lines = sorted(found)
        more = [f"({len(lines) - LISTED_LINES} more; list a folder)"] if len(lines) > LISTED_LINES else []
        return ToolResult("\n".join([*lines[:LISTED_LINES], *more]) or "(no files)")

    return FileTool(schema, "load", list_files)


def grep_tool(workspace: Workspace, search_s: float = SEARCH_S) -> Tool:
    """`grep`: lines that a regular expression is found in, with file and line number.

    The search runs in a child that can be ended: some expressions take for ever, and Python cannot be stopped inside
    one.
    """
    schema = schema_of("grep", "Search files for a regular expression.", required={"pattern": _TEXT}, path=_TEXT)

    def grep(arguments: JsonObject) -> ToolResult:
        place = workspace.resolve(arguments.get("path", "."))
        if not place.exists():
            return ToolResult(f"Error: {workspace.name(place)} does not exist", ok=False)
        order = {
            "root": str(workspace.root),
            "place": str(place),
            "pattern": arguments["pattern"],
            "ignored": sorted(IGNORED),
            "largest_bytes": LARGEST_FILE_BYTES,
        }
        argv = [sys.executable, "-I", "-S", search.__file__]
        try:
            done = subprocess.run(argv, input=msgspec.json.encode(order), capture_output=True, timeout=search_s)
        except subprocess.TimeoutExpired:
            return ToolResult("Error: the expression takes too long; write a simpler one", ok=False, timed_out=True)
        text = done.stdout.decode("utf-8", "replace").rstrip("\n")
        if done.returncode != 0:
            return ToolResult(f"Error: {text or 'the search failed'}", ok=False)
        return ToolResult(text or "(no matches)")

    return FileTool(schema, "load", grep)


def edit_tool(workspace: Workspace) -> Tool:
    """`edit`: replace a text that stands in a file exactly once."""
    schema = schema_of(
        "edit",
        "Replace a text in a file. The old text must be in the file exactly once.",
        required={"path": _TEXT, "old": _TEXT, "new": _TEXT},
    )

    def edit(arguments: JsonObject) -> ToolResult:
        place, old, new = workspace.file(arguments["path"]), arguments["old"], arguments["new"]
        name = workspace.name(place)
        try:
            before = place.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            return ToolResult(f"Error: {name} is no text", ok=False)
        count = before.count(old) if old else 0
        if old == new:
            return ToolResult("Error: old and new are the same", ok=False)
        if count != 1:
            reason = "is not in" if count == 0 else f"is {count} times in"
            hint = (
                "copy it exactly, without line numbers" if count == 0 else "take more lines, so that it is there once"
            )
            return ToolResult(f"Error: the old text {reason} {name}; {hint}", ok=False)
        _store(place, before.replace(old, new, 1))
        line = before[: before.index(old)].count("\n") + 1
        return ToolResult(f"Replaced 1 text in {name}, line {line}.", changed=(name,))

    return FileTool(schema, "edit", edit)


def write_tool(workspace: Workspace) -> Tool:
    """`write`: make a file, or write it anew, with the folders that it needs."""
    schema = schema_of("write", "Write a whole file.", required={"path": _TEXT, "content": _TEXT})

    def write(arguments: JsonObject) -> ToolResult:
        place, content = workspace.resolve(arguments["path"]), arguments["content"]
        if place.exists():
            place = workspace.file(arguments["path"])
        if place == workspace.root:
            return ToolResult("Error: name a file", ok=False)
        place.parent.mkdir(parents=True, exist_ok=True)
        _store(place, content)
        name = workspace.name(place)
        return ToolResult(f"Wrote {len(content.splitlines())} lines to {name}.", changed=(name,))

    return FileTool(schema, "edit", write)


def _store(place: Path, text: str) -> None:
    """Write a file's text as it is. One with further names is made anew, since they may lie outside."""
    if place.exists() and place.stat().st_nlink > 1:
        mode = place.stat().st_mode & 0o777
        place.unlink()
        place.touch(mode)
    place.write_bytes(text.encode("utf-8"))
