"""What harness settings cost on a real engine: the same scripted work, rehearsed under each, with the seconds by cause.

The oracle's trajectory of a task is forced on llama-server with the bundled model under every setting, so that the work
is the same and only what the harness sends differs. Hostile levers must come out as prompt-side causes by name, and an
append-only setting must lose nothing. Times are of one run on one machine: compare them with each other alone.

The bundled model's context is 32k; 51 KB of skills and a long session need more in its small vocabulary, so a copy of
it says that it has 128k. What it would answer there does not matter: its replies are forced.

Run: `python -m benchmarks.rehearsed_levers [--task testgap/tokens-1] [--setting focused] [--out FOLDER]`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from profiler.dispatch_document import DispatchDocument
from tests.tiny_model.longer_context import write_longer_context

ROOT = Path(__file__).parents[1]
TINY = ROOT / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
CONTEXT_TOKENS = 131_072
TASKS = ("testgap/rotation-1", "debug/todo-1")
SETTINGS = ("plain", "focused", "bloated", "cache-hostile")
HEADS = (
    "task",
    "setting",
    "turns",
    "prompt tokens at the end",
    "prefill s",
    "lost s",
    "decode s",
    "tools s",
    "wall s",
    "lost to",
)


def rehearsed(task: str, setting: str, model: Path, runs: Path) -> DispatchDocument:
    """One rehearsal by the command, as a user would run it."""
    target = f"llama-server:{model}?ctx={CONTEXT_TOKENS}&threads=1&slots=1"
    words = ["run", task, "--rehearse", "-t", target, "-H", setting, "--json", "--runs", str(runs)]
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{task} under {setting}: {done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout, type=DispatchDocument)


def row(setting: str, document: DispatchDocument) -> dict[str, Any]:
    """The figures of one rehearsal; seconds by cause are the profiler's."""
    totals = document.totals
    return {
        "task": document.started.task,
        "setting": setting,
        "turns": totals.turns,
        "prompt_tokens_at_end": document.turns[-1].prompt_tokens or document.turns[-2].prompt_tokens,
        "evaluated_tokens": totals.evaluated_tokens,
        "prefill_s": _s(totals.prefill_ns),
        "lost_tokens": totals.lost_tokens,
        "lost_s": _s(totals.lost_ns),
        "decode_s": _s(totals.decode_ns),
        "tools_s": _s(totals.tool_ns),
        "wall_s": _s(totals.wall_ns),
        "lost_by_cause": {
            cause.code: {"title": cause.title, "side": cause.side, "tokens": cause.tokens, "s": cause.s}
            for cause in document.causes
        },
        "exit_status": document.exit_status,
        "score": document.outcome.score if document.outcome else None,
        "doubts": [guard.text for guard in document.doubts],
    }


def _s(value_ns: int | None) -> float | None:
    return None if value_ns is None else round(value_ns / 1e9, 3)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| " + " | ".join(HEADS) + " |", "| " + " | ".join("---" for _ in HEADS) + " |"]
    for one in rows:
        causes = ", ".join(f"{code} {cause['s'] or 0:.1f} s" for code, cause in one["lost_by_cause"].items())
        figures = [one[key] for key in ("prefill_s", "lost_s", "decode_s", "tools_s", "wall_s")]
        cells = [one["task"], one["setting"], one["turns"], f"{one['prompt_tokens_at_end']:,}"]
        cells += [f"{figure:.1f}" if figure is not None else "?" for figure in figures]
        lines.append("| " + " | ".join(map(str, [*cells, causes or "nothing"])) + " |")
    return "\n".join(lines)


def main() -> None:
    """Rehearse every task under every setting, and print the table; with --out also write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--setting", action="append", default=[])
    parser.add_argument("--out", type=Path, help="write FOLDER/rehearsed-levers.json and .md")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "tiny-f16.gguf"
        write_longer_context(TINY, model, CONTEXT_TOKENS)
        for task in asked.task or TASKS:
            for setting in asked.setting or SETTINGS:
                print(f"{task} under {setting}", file=sys.stderr, flush=True)
                rows.append(row(setting, rehearsed(task, setting, model, Path(place) / "runs")))
                if asked.out:
                    # After each: a rehearsal takes minutes, and what is measured must not be lost.
                    (asked.out / "rehearsed-levers.json").write_text(json.dumps(rows, indent=1) + "\n")
                    (asked.out / "rehearsed-levers.md").write_text(f"{table(rows)}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
