"""Scores a dispatch of toolbench from the ledger of its calls; copied into a task's folder as `tests/verify.py`.

The score is 1 for the right answer after all calls that it takes, in their order. Else it is up to 0.5, by the share of
those calls that were made; an answer where there is none is worth nothing. Standard library only; judges no prose.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def score(rows: list[Row], expected: Row) -> Row:
    """The reward of a ledger's rows: `score` in [0, 1], its `parts`, and `notes`.

    `expected` has the right `answer` and the `calls` before it, each with `name` and `arguments`.
    """
    submitted = [row["arguments"].get("answer") for row in rows if row["name"] == "submit"]
    steps, done = expected["calls"], 0
    for row in rows:
        if done < len(steps) and all(row[key] == steps[done][key] for key in ("name", "arguments")):
            done += 1
    right = submitted[:1] == [expected["answer"]]
    made_up = bool(submitted) and not right and expected["answer"] == "none"
    share = done / len(steps) if steps else 0.0
    return {
        "score": 1.0 if right and done == len(steps) else 0.0 if made_up else 0.5 * share,
        "parts": {
            "steps_done": done,
            "steps": len(steps),
            "calls": len(rows) - len(submitted),
            "submitted": bool(submitted),
            "right_answer": right,
        },
        "notes": _notes(bool(submitted), right, made_up, len(steps) - done),
    }


def _notes(submitted: bool, right: bool, made_up: bool, missing: int) -> list[str]:
    notes = [] if submitted else ["nothing was submitted"]
    if made_up:
        notes.append("an answer was made up: no tool gives one")
    elif submitted and not right:
        notes.append("the submitted answer is wrong")
    if missing:
        notes.append(f"calls that it takes and that were not made: {missing}")
    return notes


def main() -> None:
    """Read `$LEDGER`, write `$REWARD_DIR/reward.json`. Without a ledger, no call was made."""
    ledger = os.environ.get("LEDGER", "")
    lines = Path(ledger).read_text(encoding="utf-8").splitlines() if ledger and Path(ledger).is_file() else []
    expected = json.loads(Path(os.environ["HIDDEN"], "expected.json").read_text(encoding="utf-8"))
    reward = score([json.loads(line) for line in lines], expected)
    Path(os.environ["REWARD_DIR"], "reward.json").write_text(json.dumps(reward), encoding="utf-8")


if __name__ == "__main__":
    main()
