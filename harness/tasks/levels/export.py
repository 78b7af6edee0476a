"""Lay the replies of a model to the levels out as files: `output/<model>/<level>/` with reply, code and result.

This is the layout in which single-shot coding benchmarks keep what each model said, so that it can be read, run and
compared without dyno. Scores are taken as they are; nothing is verified here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.tasks.levels.extract import split_reply

__all__ = ["LevelResult", "export_levels", "folder_name"]

SCHEMA = 1
"""Version of `result.json` and `summary.json`. History: 1, the first one."""


class LevelResult(msgspec.Struct, frozen=True):
    """A model's reply to one level. `parts` is what the level's verifier wrote: `points`, `max_points` and more.

    `score` is `None` if the reply was not verified; `dispatch_id` says which record it comes from, if any.
    """

    level: str
    reply: str
    score: float | None
    parts: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()
    seed: int | None = None
    dispatch_id: str | None = None


def export_levels(model: str, results: Iterable[LevelResult], output: Path) -> Path:
    """Write `reply.md`, `solution.py` (if the reply holds code) and `result.json` for each level, and `summary.json`.

    A level that is there already is replaced. Points are summed over the levels that were verified; `verified` and
    `levels` say how many those are.

    Returns:
        The model's folder below `output`.

    Raises:
        OSError: a file cannot be written.
    """
    place = output / folder_name(model)
    place.mkdir(parents=True, exist_ok=True)
    kept = sorted(results, key=lambda result: result.level)
    for result in kept:
        folder = place / folder_name(result.level.rpartition("/")[2])
        folder.mkdir(exist_ok=True)
        code = split_reply(result.reply).code
        (folder / "reply.md").write_text(result.reply, encoding="utf-8")
        (folder / "solution.py").unlink(missing_ok=True)
        if code is not None:
            (folder / "solution.py").write_text(code, encoding="utf-8")
        told = msgspec.to_builtins(result)
        del told["reply"]
        _write_json(folder / "result.json", {"schema": SCHEMA, "model": model, **told})
    verified = [result for result in kept if result.score is not None]
    summary = {
        "schema": SCHEMA,
        "model": model,
        "levels": len(kept),
        "verified": len(verified),
        "points": sum(result.parts.get("points", 0) for result in verified),
        "max_points": sum(result.parts.get("max_points", 0) for result in verified),
        "honest_on_control": next((r.parts["honest"] for r in verified if "honest" in r.parts), None),
    }
    _write_json(place / "summary.json", summary)
    return place


def folder_name(name: str) -> str:
    """A name as a folder's: everything but letters, digits and `._-` becomes `-`, and none begins with a dot."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "unnamed"


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
