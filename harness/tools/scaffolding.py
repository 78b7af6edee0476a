"""Tools that hold an agent's own state: a todo list, a plan, a scratchpad. It lives as long as the dispatch does."""

from __future__ import annotations

from backends.base import JsonObject
from harness.tools.base import ToolResult, schema_of
from profiler.dispatch_records import Effect

__all__ = ["Plan", "Scratchpad", "Todo"]

_TEXT: JsonObject = {"type": "string"}


def _one_of(*values: str) -> JsonObject:
    return {"type": "string", "enum": list(values)}


class Todo:
    """A list of what is left to do; items are numbered from 1 and keep their numbers."""

    name = "todo"
    effect: Effect = "plan"
    schema = schema_of(
        "todo",
        "Keep a todo list: add an item, mark one as done by its number, or list them.",
        required={"action": _one_of("add", "done", "list")},
        item=_TEXT,
        number={"type": "integer", "minimum": 1},
    )

    def __init__(self) -> None:
        self._items: list[str] = []
        self._done: set[int] = set()

    def run(self, arguments: JsonObject) -> ToolResult:
        """Change the list, and show it."""
        action, item, number = arguments["action"], arguments.get("item", "").strip(), arguments.get("number")
        if action == "add":
            if not item:
                return ToolResult("Error: give the item", ok=False)
            self._items.append(item)
        elif action == "done":
            if number is None or number > len(self._items):
                return ToolResult(f"Error: give the number of an item, 1 to {len(self._items)}", ok=False)
            self._done.add(number)
        return ToolResult("\n".join(self._lines()) or "(nothing to do)")

    def _lines(self) -> list[str]:
        marks = {True: "x", False: " "}
        return [f"{number}. [{marks[number in self._done]}] {item}" for number, item in enumerate(self._items, 1)]


class _Page:
    """A text that the agent writes and reads."""

    effect: Effect = "plan"

    def __init__(self, empty: str) -> None:
        self._text = ""
        self._empty = empty

    def shown(self) -> ToolResult:
        return ToolResult(self._text or self._empty)


class Plan(_Page):
    """The agent's plan, set as a whole."""

    name = "plan"
    schema = schema_of("plan", "Set your plan, or show it.", required={"action": _one_of("set", "show")}, text=_TEXT)

    def __init__(self) -> None:
        super().__init__("(no plan yet)")

    def run(self, arguments: JsonObject) -> ToolResult:
        """Set the plan or show it."""
        if arguments["action"] == "show":
            return self.shown()
        self._text = arguments.get("text", "").strip()
        return ToolResult("The plan is set." if self._text else "The plan is empty now.")


class Scratchpad(_Page):
    """Notes, added one after the other."""

    name = "scratchpad"
    schema = schema_of(
        "scratchpad", "Add a note, or read your notes.", required={"action": _one_of("write", "read")}, text=_TEXT
    )

    def __init__(self) -> None:
        super().__init__("(no notes yet)")

    def run(self, arguments: JsonObject) -> ToolResult:
        """Add a note or read all of them."""
        text = arguments.get("text", "").strip()
        if arguments["action"] == "read":
            return self.shown()
        if not text:
            return ToolResult("Error: give the text of the note", ok=False)
        self._text = f"{self._text}\n{text}".strip()
        return ToolResult("Noted.")
