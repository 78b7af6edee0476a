"""Writes the files of a SPECLAN tree: creates, updates and deletes goals, features and requirements by their ids.

Front matter is written here, never by the model. A file without a given body has the layer's template text, as
specification tools leave it. Dates are one fixed day, so that the same work gives the same bytes. Scores nothing.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec

from harness.tasks.spectree.tree import STATUSES, Node, read_tree

__all__ = ["TEMPLATES", "Documents", "DocumentsError", "Written"]

TEMPLATES = {
    "goal": "Goal description goes here.",
    "feature": "Feature description goes here.",
    "requirement": "Requirement description goes here.",
}
"""What a body is as long as nobody wrote one."""

_DAY = "2026-01-05T09:00:00Z"
_PREFIX = {"goal": "G", "feature": "F", "requirement": "R"}
_DIGITS = {"goal": 3, "feature": 4, "requirement": 4}
_LONGEST_SLUG = 48


class DocumentsError(Exception):
    """What was asked for cannot be done; the message tells the agent what to do instead."""


class Written(msgspec.Struct, frozen=True):
    """What a call did: to which id, where it lies now, and the files that it wrote or removed (from the workspace)."""

    id: str
    path: str
    changed: tuple[str, ...]


class Documents:
    """The tree in a workspace's `speclan/`. Ids are counted, and one that was deleted is not given again."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._root = workspace / "speclan"
        self._highest = dict.fromkeys(_PREFIX, 0)

    def create(
        self, layer: str, title: str, parent: str | None = None, body: str = "", status: str = "draft"
    ) -> Written:
        """Write a new file. `parent` is a goal or a feature of a feature, and a feature of a requirement.

        Raises:
            DocumentsError: no title, an unknown status, or no such parent.
        """
        nodes = self._nodes()
        numbers = [int(node.id.partition("-")[2]) for node in nodes.values() if node.layer == layer]
        number = max([self._highest[layer], *numbers]) + 1
        name = f"{_PREFIX[layer]}-{number:0{_DIGITS[layer]}}"
        path = self._write(nodes, layer, name, title, parent, body or TEMPLATES[layer], status)
        self._highest[layer] = number
        return Written(name, path, (path,))

    def update(
        self,
        layer: str,
        name: str,
        title: str | None = None,
        parent: str | None = None,
        body: str | None = None,
        status: str | None = None,
    ) -> Written:
        """Write a file anew, with what is given changed; a new title or parent moves it, with what lies below it.

        Raises:
            DocumentsError: no such file, or as for `create`.
        """
        nodes = self._nodes()
        node = self._find(nodes, layer, name)
        before = self._files()
        new_title, new_parent = title or node.title, parent or node.parent
        target = self._place(nodes, layer, name, new_title, new_parent)
        old = self._root / node.path
        if target != old:
            if layer != "goal" and target.is_relative_to(old.parent) and target.parent != old.parent:
                raise DocumentsError(f"{name} cannot lie inside itself: choose another parent")
            self._move(old, target, layer)
        path = self._write(nodes, layer, name, new_title, new_parent, body or node.body, status or node.status)
        return Written(name, path, tuple(sorted({path, *(before ^ self._files())})))

    def delete(self, layer: str, name: str) -> Written:
        """Remove a file that nothing belongs to.

        Raises:
            DocumentsError: no such file, or others belong to it.
        """
        nodes = self._nodes()
        node = self._find(nodes, layer, name)
        below = sorted(other.id for other in nodes.values() if name in {other.parent, other.within})
        if below:
            raise DocumentsError(f"{name} still has {', '.join(below)}: delete or move them first")
        path = self._root / node.path
        path.unlink()
        if layer != "goal":
            shutil.rmtree(path.parent)
        removed = path.relative_to(self._workspace).as_posix()
        return Written(name, removed, (removed,))

    def write_vision(self, body: str) -> Written:
        """Write `vision.md`, which says what the whole is for."""
        self._root.mkdir(exist_ok=True)
        path = self._root / "vision.md"
        path.write_text(f"# Vision\n\n{body.strip()}\n", encoding="utf-8", newline="\n")
        return Written("vision", "speclan/vision.md", ("speclan/vision.md",))

    def _nodes(self) -> dict[str, Node]:
        return {node.id: node for node in read_tree(self._root)}

    def _files(self) -> set[str]:
        return {path.relative_to(self._workspace).as_posix() for path in self._root.rglob("*") if path.is_file()}

    def _find(self, nodes: dict[str, Node], layer: str, name: str) -> Node:
        node = nodes.get(name)
        if node is None or node.layer != layer:
            there = ", ".join(sorted(other.id for other in nodes.values() if other.layer == layer)) or "none yet"
            raise DocumentsError(f"there is no {layer} {name}; there are: {there}")
        return node

    def _place(self, nodes: dict[str, Node], layer: str, name: str, title: str, parent: str | None) -> Path:
        """Where a file belongs."""
        stem = f"{name}-{_slug(title)}"
        if layer == "goal":
            return self._root / "goals" / f"{stem}.md"
        allowed = ("feature",) if layer == "requirement" else ("goal", "feature")
        above = nodes.get(parent or "")
        if above is None or above.layer not in allowed:
            there = ", ".join(sorted(node.id for node in nodes.values() if node.layer in allowed)) or "none yet"
            raise DocumentsError(f"{parent or 'nothing'} is no {' or '.join(allowed)}; there are: {there}")
        folder = self._root / "features" if above.layer == "goal" else (self._root / above.path).parent
        return (folder / "requirements" if layer == "requirement" else folder) / stem / f"{stem}.md"

    def _move(self, old: Path, target: Path, layer: str) -> None:
        target.parent.parent.mkdir(parents=True, exist_ok=True)
        if layer == "goal":
            old.rename(target)
        else:
            old.parent.rename(target.parent)
            (target.parent / old.name).rename(target)

    def _write(
        self,
        nodes: dict[str, Node],
        layer: str,
        name: str,
        title: str,
        parent: str | None,
        body: str,
        status: str,
    ) -> str:
        title = " ".join(title.split()).replace('"', "'")
        if not re.search(r"\w", title):
            raise DocumentsError(f"a {layer} needs a title")
        if status not in STATUSES:
            raise DocumentsError(f"{status!r} is no status; there are: {', '.join(STATUSES)}")
        path = self._place(nodes, layer, name, title, parent)
        lines = ["---", f"id: {name}", f"type: {layer}", f'title: "{title}"', f"status: {status}", "owner: product"]
        lines += [f'created: "{_DAY}"', f'updated: "{_DAY}"']
        if parent and layer != "goal":
            lines.append(f"parent: {parent}")
            goal = _goal_above(nodes, parent)
            lines += [f"feature: {parent}"] if layer == "requirement" else ["goals:", f"  - {goal}"] if goal else []
        lines += ["---", "", f"# {title}", "", body.strip(), ""]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines), encoding="utf-8", newline="\n")
        return path.relative_to(self._workspace).as_posix()


def _goal_above(nodes: dict[str, Node], name: str) -> str | None:
    seen: set[str] = set()
    while name in nodes and name not in seen:
        seen.add(name)
        if nodes[name].layer == "goal":
            return name
        name = next((goal for goal in nodes[name].references if goal.startswith("G-")), nodes[name].parent or "")
    return None


def _slug(title: str) -> str:
    slug = "-".join(re.findall(r"[a-z0-9]+", title.lower()))[:_LONGEST_SLUG].strip("-")
    return slug or "untitled"
