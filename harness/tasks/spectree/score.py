"""Scores a tree of specifications against what an app was built from: a task's verifier, and a command for any tree.

    python -m harness.tasks.spectree.score TREE [--hidden FOLDER] [--code FOLDER]      prints the reward of any tree
    python tests/verify.py           in a task, where a copy lies: writes it to $REWARD_DIR, from $WORKSPACE and $HIDDEN

    score = quality × layers × (1 − placeholders) × (1 − duplicates) × max(0, 1 − 2·invented − ½·unsupported)
    quality = 0.25·structure + 0.45·features + 0.30·requirements       (structure alone without a list of what is there)

All of these are shares in [0, 1], described in docs/tasks.md. Words are compared, not meanings:
a documented measure, no judge. Needs the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from harness.tasks.spectree.matching import assign, content_words, duplicates, fits, mentions, words
from harness.tasks.spectree.tree import CHECKS, LAYERS, Node, find_root, problems, read_tree

__all__ = ["PLACEHOLDERS", "PLACEHOLDERS_VERSION", "score_tree"]

PLACEHOLDERS_VERSION = 1
"""Of the list below; it goes into every reward. History: 1, the first one."""

PLACEHOLDERS = (
    r"\b(goal|feature|requirement|description|title|text|content|body|criteria|story)( \w+)? goes here\b",
    r"\b(describe|insert|enter|write|add|put) (the |your |a |an )?\w+( \w+)? here\b",
    r"\b(todo|tbd|fixme|xxx)\b",
    r"\blorem ipsum\b",
    r"[\[<{](insert|describe|add|your|placeholder|description|title)\b[^\]>}]*[\]>}]",
    r"\bplaceholder (text|content|description)\b",
    r"\bto be (written|determined|defined|filled in|completed)\b",
    r"^\s*(\.\.\.|…|n/a|none|-)\s*$",
)

_FEATURES_PER_NODE = 2
_PARTS = {"structure": 0.25, "features": 0.45, "requirements": 0.30}
_MOST_NOTES = 40
_MOST_LISTED = 8


def score_tree(folder: Path, planted: dict[str, Any] | None = None, code: Path | None = None) -> dict[str, Any]:
    """The reward of a tree: `score`, `parts` and `notes`.

    `planted` is what the app has (`hidden/planted.json`), `code` the code base; without, what hangs on it is `None`.
    """
    root = find_root(folder)
    nodes = read_tree(root)
    notes: list[str] = []
    failed = problems(nodes)
    notes += [f"{Path(path).name}: {', '.join(checks)}" for path, checks in failed.items()]
    counts = {f"{layer}s": sum(node.layer == layer for node in nodes) for layer in LAYERS}
    goals = {node.id for node in nodes if node.layer == "goal"}
    counts["top_level_features"] = sum(
        node.layer == "feature" and (node.parent is None or node.parent in goals) for node in nodes
    )
    missing = [layer for layer in LAYERS if not counts[f"{layer}s"]]
    notes += [f"the tree has no {layer}s" for layer in missing]
    empty = [node for node in nodes if _is_placeholder(node)]
    notes += [f"only template text: {_listed(empty)}"] if empty else []
    written = [node for node in nodes if node not in empty]
    twins = duplicates(written)
    notes += [f"{node.id} says what {other.id} says" for node, other in twins]
    found = _Found(written, planted, code)
    notes += found.notes
    wrong = sum(len(checks) for checks in failed.values())
    parts: dict[str, Any] = {
        "counts": counts,
        "missing_layers": missing,
        "structure": _share(len(nodes) * len(CHECKS) - wrong, len(nodes) * len(CHECKS)),
        "placeholders": _share(len(empty), len(nodes)),
        "duplicates": _share(len(twins), len(nodes)),
        "features": found.features,
        "requirements": found.requirements,
        "invented": found.invented,
        "unsupported": found.unsupported,
        "placeholders_version": PLACEHOLDERS_VERSION,
    }
    layers = (len(LAYERS) - len(missing)) / len(LAYERS)
    return {"score": round(_total(parts, layers), 6), "parts": parts, "notes": notes[:_MOST_NOTES]}


class _Found:
    """What of the app a tree names, and what it names that the app has not; shares, `None` where unknown."""

    features: float | None = None
    requirements: float | None = None
    invented: float | None = None
    unsupported: float | None = None

    def __init__(self, nodes: list[Node], planted: dict[str, Any] | None, code: Path | None) -> None:
        self.notes: list[str] = []
        if planted is None:
            return
        features = [node for node in nodes if node.layer == "feature"]
        requirements = [node for node in nodes if node.layer == "requirement"]
        by_id = {node.id: node for node in features}
        texts = {node.path: words(f"{node.title}\n{node.body}") for node in nodes}
        # A requirement is read under its feature: «at most 200 steps» below «Undo» says what is limited.
        under = {node.path: texts[node.path] + _above(node, by_id, texts) for node in requirements}
        held = [[index for index, node in enumerate(features) if fits(texts[node.path], feature["keywords"])]
                for feature in planted["features"]]  # fmt: skip
        named = assign(held, _FEATURES_PER_NODE)
        left = [feature for feature, node in zip(planted["features"], named, strict=True) if node is None]
        below = assign(
            [[at for at, node in enumerate(requirements) if fits(texts[node.path], feature["keywords"])]
             for feature in left], 1
        )  # fmt: skip
        half = sum(node is not None for node in below)
        self.features = _share(2 * (len(named) - len(left)) + half, 2 * len(named))
        self.notes += [f"not named as a feature: {feature['title']}" for feature in left]
        wanted = [
            (requirement["keywords"], feature["keywords"])
            for feature in planted["features"] for requirement in feature["requirements"]
        ]  # fmt: skip
        told = assign(
            [[at for at, node in enumerate(requirements)
              if fits(under[node.path], own) and fits(under[node.path], features_own)]
             for own, features_own in wanted], _FEATURES_PER_NODE
        )  # fmt: skip
        self.requirements = _share(sum(node is not None for node in told), len(wanted))
        self._find_invented(nodes, planted)
        if code is not None:
            known = {features[index].path for held_by in held for index in held_by}
            self._find_unsupported([node for node in features if node.path not in known], features, code)

    def _find_invented(self, nodes: list[Node], planted: dict[str, Any]) -> None:
        claims = [(node, mentions(f"{node.title}.\n{node.body}", planted["forbidden"])) for node in nodes]
        hits = [(node, [term.rstrip("*") for term in terms]) for node, terms in claims if terms]
        self.notes += [
            f"{node.id} is invented, the app has no {', '.join(terms)}: {node.title}" for node, terms in hits
        ]
        self.invented = _share(len(hits), len(nodes))

    def _find_unsupported(self, nodes: list[Node], features: list[Node], code: Path) -> None:
        vocabulary = content_words(
            "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(_files(code)))
        )
        unknown = [
            node for node in nodes
            if 2 * len(content_words(node.title) & vocabulary) < len(content_words(node.title))
        ]  # fmt: skip
        self.notes += [f"{node.id}: the code does not use the words of its title: {node.title}" for node in unknown]
        self.unsupported = _share(len(unknown), len(features))


def _listed(nodes: list[Node]) -> str:
    shown = ", ".join(node.id for node in nodes[:_MOST_LISTED])
    return f"{shown} and {len(nodes) - _MOST_LISTED} more" if len(nodes) > _MOST_LISTED else shown


def _above(node: Node, features: dict[str, Node], texts: dict[str, list[str]]) -> list[str]:
    """The words of the feature that a requirement belongs to, and of those around that."""
    found: list[str] = []
    seen: set[str] = set()
    name = node.parent
    while name in features and name not in seen:
        seen.add(name)
        found += texts[features[name].path]
        name = features[name].within or features[name].parent
    return found


def _is_placeholder(node: Node) -> bool:
    lines = [line for line in node.body.splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join([node.title, *lines])
    return any(re.search(pattern, text, re.IGNORECASE | re.MULTILINE) for pattern in PLACEHOLDERS)


def _total(parts: dict[str, Any], layers: float) -> float:
    if parts["structure"] is None:
        return 0.0
    known = parts["features"] is not None
    quality = sum(weight * (parts[name] or 0.0) for name, weight in _PARTS.items()) if known else parts["structure"]
    honest = max(0.0, 1 - 2 * (parts["invented"] or 0.0) - 0.5 * (parts["unsupported"] or 0.0))
    return float(quality * layers * (1 - parts["placeholders"]) * (1 - parts["duplicates"]) * honest)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _files(folder: Path) -> list[Path]:
    skipped = {"speclan", ".home", ".tmp", "__pycache__"}
    return [
        path for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and not skipped & set(path.relative_to(folder).parts[:-1])
    ]  # fmt: skip


def _ledger(path: str | None) -> dict[str, Any]:
    """Calls by tool, and the ids that the last submission claims; from a ledger of JSON lines, if there is one."""
    if not path or not Path(path).is_file():
        return {}
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    calls: dict[str, int] = {}
    for row in rows:
        calls[row["name"]] = calls.get(row["name"], 0) + 1
    last = [json.dumps(row["arguments"]) for row in rows if row["name"] == "submit"][-1:]
    return {"calls": calls, "claimed": sorted(set(re.findall(r"\b[GFR]-\d{3,4}\b", " ".join(last))))}


def _verify() -> dict[str, Any]:
    workspace, hidden = Path(os.environ["WORKSPACE"]), Path(os.environ["HIDDEN"])
    planted = json.loads((hidden / "planted.json").read_text(encoding="utf-8"))
    # What the agent added to the code is no evidence for what it wrote.
    reward = score_tree(workspace / "speclan", planted, Path(os.environ.get("ORIGINAL", workspace)))
    reward["parts"] |= _ledger(os.environ.get("LEDGER"))
    there = {node.id for node in read_tree(workspace / "speclan")}
    absent = [name for name in reward["parts"].get("claimed", []) if name not in there]
    reward["notes"][:0] = [f"claimed, but not there: {name}" for name in absent]
    return reward


def _main(arguments: list[str]) -> None:
    if not arguments:
        reward = json.dumps(_verify(), indent=1, ensure_ascii=False)
        Path(os.environ["REWARD_DIR"], "reward.json").write_text(reward + "\n", encoding="utf-8")
        return
    parser = argparse.ArgumentParser(description="Score a SPECLAN tree.")
    parser.add_argument("tree", type=Path)
    parser.add_argument("--hidden", type=Path, help="a task's hidden/, with the features that the app has")
    parser.add_argument("--code", type=Path, help="the code base")
    given = parser.parse_args(arguments)
    planted = json.loads((given.hidden / "planted.json").read_text(encoding="utf-8")) if given.hidden else None
    sys.stdout.write(json.dumps(score_tree(given.tree, planted, given.code), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
