"""Reads a tree of specifications in SPECLAN's layout, and checks its form. Judges no content; needs no library.

    speclan/goals/G-001-title.md
    speclan/features/F-0001-title/F-0001-title.md
    speclan/features/F-0001-title/F-0002-part/F-0002-part.md
    speclan/features/F-0001-title/requirements/R-0001-title/R-0001-title.md

Each file has YAML front matter (`id`, `type`, `title`, `status`, and `parent`, or `goals` of a feature and `feature` of
a requirement) and a body under a heading. A file's name decides which id it has, its folder which feature it belongs to
where the front matter says nothing. Trees of any tool are read: what is wrong with a file is named, not refused.

A task's verifier takes a copy of this file along.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CHECKS", "LAYERS", "STATUSES", "Node", "find_root", "front_matter", "problems", "read_tree"]

LAYERS = ("goal", "feature", "requirement")
STATUSES = ("draft", "review", "approved", "in-development", "under-test", "released", "deprecated")
CHECKS = ("front_matter", "id", "unique", "place", "parent", "status", "body")
"""What is checked of every file; see `problems`."""

_LAYER_OF = {"G": "goal", "F": "feature", "R": "requirement"}
_ID = re.compile(r"(G|F|R)-\d+")
_WELL_FORMED = {"goal": r"G-\d{3}", "feature": r"F-\d{3,4}", "requirement": r"R-\d{3,4}"}
_KEY = re.compile(r"([A-Za-z0-9_]+):\s*(.*)")
_ITEM = re.compile(r"\s*-\s+(.*)")
_NO_ENTITIES = frozenset({"templates", "change-requests", "artifacts", "_archived"})


@dataclass(frozen=True)
class Node:
    """One goal, feature or requirement. `path` is relative to the tree, `references` are ids that it names as parents,
    `contributors` those that a goal names as serving it.

    `within` is the feature whose folder it lies in, `body` what follows the front matter without the title's heading.
    """

    id: str
    layer: str
    title: str
    body: str
    status: str
    path: str
    has_front_matter: bool
    own_id: str
    references: tuple[str, ...]
    within: str | None
    contributors: tuple[str, ...] = ()

    @property
    def parent(self) -> str | None:
        """The id that it belongs to: the first it names, or the feature around it."""
        return self.references[0] if self.references else self.within


def find_root(folder: Path) -> Path:
    """The folder of the tree: the given one, or the `speclan` below it that there is."""
    places = [folder, folder / "speclan", folder / "specs" / "speclan", folder / ".speclan"]
    return next((place for place in places if (place / "goals").is_dir() or (place / "features").is_dir()), folder)


def read_tree(folder: Path) -> list[Node]:
    """All goals, features and requirements below a folder, by path. Links are not followed, other files left out."""
    nodes: list[Node] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NO_ENTITIES and not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if name.endswith(".md") and path.is_file() and not path.is_symlink():
                node = _node(path.relative_to(folder), path.read_text(encoding="utf-8", errors="replace"))
                nodes += [node] if node else []
    return nodes


def front_matter(text: str) -> tuple[dict[str, str | list[str]] | None, str]:
    """Keys and values of the front matter, `None` without one, and the text after it. Knows scalars and plain lists."""
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---" or "---" not in [line.strip() for line in lines[1:]]:
        return None, text
    end = [line.strip() for line in lines].index("---", 1)
    held: dict[str, str | list[str]] = {}
    key = ""
    for line in lines[1:end]:
        item, pair = _ITEM.fullmatch(line), _KEY.fullmatch(line)
        if item and key:
            before = held[key]
            held[key] = [*(before if isinstance(before, list) else []), _plain(item[1])]
        elif pair:
            key, value = pair[1], pair[2].strip()
            inline = re.fullmatch(r"\[(.*)\]", value)
            held[key] = [_plain(part) for part in inline[1].split(",") if part.strip()] if inline else _plain(value)
    return held, "\n".join(lines[end + 1 :])


def problems(nodes: list[Node]) -> dict[str, list[str]]:
    """The checks that each file does not pass, by its path; a file with none is left out.

    `front_matter`: it has one. `id`: well formed, and the one of the file's name. `unique`: no other file has it.
    `place`: goals in `goals/`, the others in a folder of their own name, requirements in a feature's `requirements/`.
    `parent`: a feature names a goal, is named by one, or lies in a feature, a requirement belongs to a feature, and all
    that is named is there. `status`: a known one. `body`: it says something beside headings.
    """
    times = Counter(node.id for node in nodes)
    served = {name for node in nodes if node.layer == "goal" for name in node.contributors}
    found = {node.path: _failed(node, times, served) for node in nodes}
    return {path: failed for path, failed in found.items() if failed}


def _node(path: Path, text: str) -> Node | None:
    held, after = front_matter(text)
    fields = held or {}
    own_id = _text(fields.get("id"))
    named = _ID.match(path.stem) or _ID.fullmatch(own_id)
    if named is None:
        return None
    heading = re.match(r"\s*#\s+(.+)", after)
    body = after[heading.end() :] if heading else after
    references = [
        reference
        for key in ("parent", "feature", "goal", "goals")
        for reference in _ids(fields.get(key))
        if reference != named[0]
    ]
    around = [part for part in path.parts[:-1] if part.startswith("F-") and part != path.stem]
    feature = _ID.match(around[-1]) if around else None
    return Node(
        id=named[0],
        layer=_LAYER_OF[named[1]],
        title=_text(fields.get("title")) or (heading[1].strip() if heading else ""),
        body=body.strip(),
        status=_text(fields.get("status")),
        path=path.as_posix(),
        has_front_matter=held is not None,
        own_id=own_id,
        references=tuple(dict.fromkeys(references)),
        within=feature[0] if feature else None,
        contributors=tuple(_ids(fields.get("contributors"))),
    )


def _failed(node: Node, times: Counter[str], served: set[str]) -> list[str]:
    stem = Path(node.path).stem
    passed = {
        "front_matter": node.has_front_matter,
        "id": bool(re.fullmatch(_WELL_FORMED[node.layer], node.id)) and node.id == node.own_id and _ID.match(stem),
        "unique": times[node.id] == 1,
        "place": _in_place(node),
        "parent": _has_parent(node, times, served),
        "status": node.status in STATUSES,
        "body": bool(re.search(r"\w", re.sub(r"(?m)^\s*#.*$", "", node.body))),
    }
    return [check for check in CHECKS if not passed[check]]


def _in_place(node: Node) -> bool:
    path = Path(node.path)
    folders = path.parts[:-1]
    if node.layer == "goal":
        return folders[-1:] == ("goals",)
    own_folder = folders[-1:] == (path.stem,) and "features" in folders
    return own_folder and (node.layer == "feature" or folders[-2:-1] == ("requirements",))


def _has_parent(node: Node, times: Counter[str], served: set[str]) -> bool:
    above = [*node.references, *([node.within] if node.within else [])]
    if not all(name in times for name in (*above, *node.contributors)):
        return False
    if node.layer == "goal" or (node.layer == "feature" and node.id in served):
        return True
    fit = [name for name in above if name.startswith("F-") or (node.layer == "feature" and name.startswith("G-"))]
    return bool(fit)


def _plain(value: str) -> str:
    value = value.strip()
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def _text(value: str | list[str] | None) -> str:
    return value if isinstance(value, str) else ""


def _ids(value: str | list[str] | None) -> list[str]:
    values = value if isinstance(value, list) else [value or ""]
    return [found[0] for text in values if (found := _ID.match(text))]
