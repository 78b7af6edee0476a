"""Whether `dyno ab` finds what is known: `focused` against `bloated` and against `cache-hostile`, on a real engine.

The oracle's steps of each task are forced on llama-server with the bundled model, so that the work is the same in both
arms. Bloated must be slower by the prefill of its text and by decoding over it, without a loss; cache-hostile by
what its clock, its shuffled tools and its cleared results lose; focused loses nothing. What does not hold is
printed, and the exit code is 1.

33 KB more of skills are more than the bundled model's context, in its small vocabulary: for that lever a copy of it
says that it has 64k. Its replies are forced, so nothing depends on what it would say there. Flash attention is off:
without it llama.cpp decodes long contexts of so small a model on a CPU about five times as fast. Times are of one
machine and hour: each is compared with its neighbour in the same block alone.

Run: `python -m benchmarks.ab_levers [--tasks debug:3,testgap:3] [--lever bloated] [--out FOLDER] [--runs FOLDER]`;
`--stored ID` judges an experiment that was done before.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.experiments.command import as_shown, experiment, rounded
from benchmarks.experiments.levers import LEVERS, Lever, Losses
from harness.experiment.store import StoredExperiment, find_experiment, read_experiment
from profiler.ab_document import AbDocument
from tests.tiny_model.longer_context import write_longer_context

ROOT = Path(__file__).parents[1]
TINY = ROOT / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
TINY_CONTEXT_TOKENS = 32_768
TASKS = "debug:3,testgap:3"


def compared(lever: Lever, tasks: str, place: Path, runs: Path) -> AbDocument:
    """`focused` against the lever, once on each task."""
    model = TINY
    if lever.context_tokens > TINY_CONTEXT_TOKENS:
        model = place / f"tiny-{lever.context_tokens}.gguf"
        write_longer_context(TINY, model, lever.context_tokens)
    target = f"llama-server:{model}?ctx={lever.context_tokens}&threads=1&slots=1&flash_attn=off"
    words = ["ab", "focused", lever.setting, "--tasks", tasks, "--blocks", "1", "--seed", "1", "--rehearse"]
    return experiment([*words, "--target", target], runs)


def losses_of(stored: StoredExperiment) -> dict[str, Losses]:
    """What each arm lost, by the records of its dispatches."""
    found = {arm.name: Losses(0, 0, {}) for arm in stored.experiment.plan.arms}
    for one in stored.done:
        if one.begun.warm_up:
            continue
        sofar, totals = found[one.begun.arm], one.ended.totals
        causes = {code: sofar.by_cause.get(code, 0) + 1 for code in totals.lost_by_cause_s}
        tokens = sofar.tokens + (totals.lost_tokens or 0)
        found[one.begun.arm] = Losses(tokens, sofar.dispatches + 1, {**sofar.by_cause, **causes})
    return found


def result(lever: Lever, document: AbDocument, losses: dict[str, Losses]) -> dict[str, Any]:
    """What is kept of an experiment: the verdict, what it rests on, why, each dispatch, and what does not hold."""
    row = document.comparisons[0]
    parts = [
        {
            "part": " ".join(filter(None, (part.part, part.code))),
            "title": part.title,
            **{key: rounded(getattr(part, key)) for key in ("baseline_s", "treatment_s", "difference_s")},
            "interval_s": [rounded(part.low_s), rounded(part.high_s)],
        }
        for part in row.parts
    ]
    return {
        "lever": lever.setting,
        "word": row.word,
        "sentence": row.sentence,
        "ratio": rounded(row.primary.value),
        "interval": [rounded(row.primary.low), rounded(row.primary.high)],
        "guards": [
            {"metric": guard.metric.metric, "state": guard.state, "text": guard.metric.text} for guard in row.guards
        ],
        "parts": parts,
        "lost_by_arm": msgspec.to_builtins(losses),
        "passed": {arm.name: f"{arm.passed}/{arm.outcomes}" for arm in document.arms},
        "dispatches": [
            {
                "arm": point.arm,
                "task": point.task,
                "s": rounded(point.time_s),
                **{key: rounded(point.measures[key]) for key in ("prefill_s", "decode_s", "tool_s")},
                "evaluated_tokens": point.measures["evaluated_tokens"],
                "doubts": list(point.doubts),
            }
            for point in document.points
        ],
        "cache": {arm.name: msgspec.to_builtins(arm.cache) for arm in document.arms},
        # Where a model lies on this machine tells nobody anything.
        "engines": [re.sub(r":/[^?]*/", ":", engine) for engine in document.engines],
        "does_not_hold": lever.faults(document, losses),
    }


def main() -> None:
    """Compare, print each report and what does not hold of it; with --out also keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--lever", action="append", choices=[lever.setting for lever in LEVERS])
    parser.add_argument("--out", type=Path, help="write FOLDER/ab-levers.json")
    parser.add_argument("--runs", type=Path, help="keep the runs here")
    parser.add_argument("--stored", action="append", default=[], help="judge this experiment of --runs again: its id")
    asked = parser.parse_args()
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="dyno-levers-") as place:
        runs = (asked.runs or Path(place) / "runs").resolve()
        if asked.stored:
            documents = (experiment(["ab", "--resume", name], runs) for name in asked.stored)
        else:
            wanted = [lever for lever in LEVERS if not asked.lever or lever.setting in asked.lever]
            documents = (compared(lever, asked.tasks, Path(place), runs) for lever in wanted)
        for document in documents:
            lever = next(lever for lever in LEVERS if lever.setting == document.arms[1].setting)
            print(as_shown(document, runs))
            losses = losses_of(read_experiment(find_experiment(runs, document.experiment)))
            rows.append(result(lever, document, losses))
            for fault in rows[-1]["does_not_hold"]:
                print(f"{lever.setting}: {fault}", file=sys.stderr, flush=True)
            if asked.out:
                # After each: a lever takes half an hour, and what is measured must not be lost.
                (asked.out / "ab-levers.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    if any(row["does_not_hold"] for row in rows):
        raise SystemExit(1)
    print("all that must hold does", file=sys.stderr)


if __name__ == "__main__":
    main()
