"""What `dyno aa` calls noise on this machine: left alone, and with as many busy processes beside it as it has cores.

The same setting against itself, rehearsed on llama-server with the bundled model. For each metric: the interval of the
ratio of two arms that are equal, and the smallest change that so many tasks would show. Beside the busy processes every
dispatch must be marked for other processes, and times must need a larger change than on the machine left alone, where
none may be so marked; counts must be the same in both. What does not hold is printed, and the exit code is 1: it says
something only of a machine on which nothing else runs.

Run: `python -m benchmarks.noise_floor [--tasks toolbench/chain4-1,…] [--blocks 2] [--out FOLDER]`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.experiments.command import as_shown, experiment, rounded
from profiler.ab_document import AbDocument, MetricRow
from profiler.guards import CODES

ARM: Final = "focused,skills.bytes=2000"
TASKS: Final = (
    "toolbench/chain4-1,toolbench/chain4-2,toolbench/chain4-3,toolbench/chain6-1,toolbench/chain6-2,toolbench/chain6-3"
)
TIMES: Final = ("time_to_success_s", "prefill_s")
COUNTS: Final = ("evaluated_tokens", "generated_tokens", "turns", "calls")
BUSY: Final = "while True: pass"
SHOWN_MARKS: Final = 5


@contextmanager
def hogs(number: int) -> Iterator[None]:
    """So many processes that do nothing else than keep a core busy."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def metrics_of(document: AbDocument) -> dict[str, MetricRow]:
    """Every metric of the one comparison, the primary one by its name in plans."""
    row = document.comparisons[0]
    found = {metric.metric: metric for metric in row.metrics}
    return {document.primary: row.primary, **{guard.metric.metric: guard.metric for guard in row.guards}, **found}


def floor(document: AbDocument) -> dict[str, dict[str, Any]]:
    """Of each metric that has one: the interval of no difference, and the smallest change that would show."""
    return {
        name: {
            "scale": row.scale,
            "value": rounded(row.value, 4),
            "interval": [rounded(row.low, 4), rounded(row.high, 4)],
            "shows_from": rounded(row.detectable, 4),
        }
        for name, row in metrics_of(document).items()
        if row.low is not None or row.high is not None
    }


def marks(document: AbDocument) -> dict[str, Any]:
    """How many dispatches were marked at all, and because of other processes; the first reasons."""
    texts = list(dict.fromkeys(doubt for point in document.points for doubt in point.doubts))
    foreign = CODES["foreign_cpu"].partition("{")[0]
    return {
        "dispatches": len(document.points),
        "marked": sum(bool(point.doubts) for point in document.points),
        "for_other_processes": sum(any(doubt.startswith(foreign) for doubt in p.doubts) for p in document.points),
        "reasons": texts[:SHOWN_MARKS],
    }


def faults(alone: AbDocument, beside_hogs: AbDocument) -> list[str]:
    """What does not hold of the two; nothing if all does."""
    found: list[str] = []
    if any(document.status != "complete" for document in (alone, beside_hogs)):
        found.append("an experiment is not complete")
    quiet, loud = marks(alone), marks(beside_hogs)
    if quiet["for_other_processes"]:
        found.append(f"the machine left alone is marked in {quiet['for_other_processes']} of {quiet['dispatches']}")
    if loud["for_other_processes"] < loud["dispatches"]:
        found.append(f"busy processes are marked in {loud['for_other_processes']} of {loud['dispatches']} dispatches")
    before, after = metrics_of(alone), metrics_of(beside_hogs)
    for name in TIMES:
        small, large = before[name].detectable, after[name].detectable
        # Ratios below 1: the smaller one is the larger change.
        if small is None or large is None or large >= small:
            found.append(f"{name} shows from {_said(small)} alone and from {_said(large)} beside busy processes")
    for name in COUNTS:
        values = [side[name].value for side in (before, after)]
        if values != [1.0, 1.0]:
            found.append(f"{name} is no time, and differs: {values}")
    return found


def _said(ratio: float | None) -> str:
    return "?" if ratio is None else f"× {ratio:.3g}"


def measured(tasks: str, blocks: int, runs: Path) -> AbDocument:
    """The arm against itself. No pauses: the busy processes do not go away by waiting."""
    words = ["aa", ARM, "--tasks", tasks, "--blocks", str(blocks), "--rehearse", "--target", "tiny", "--pauses", "0"]
    return experiment(words, runs)


def result(alone: AbDocument, beside_hogs: AbDocument, number: int, load: Sequence[float]) -> dict[str, Any]:
    """Both floors with what the guards marked."""
    return {
        "cores": os.cpu_count(),
        "busy_processes": number,
        "load_average_before": round(load[0], 2),
        "arm": ARM,
        "tasks": list(alone.tasks),
        "blocks": alone.blocks,
        "alone": {"marks": marks(alone), "floor": floor(alone)},
        "beside_busy_processes": {"marks": marks(beside_hogs), "floor": floor(beside_hogs)},
        "does_not_hold": faults(alone, beside_hogs),
    }


def main() -> None:
    """Measure both, print the reports and what does not hold; with --out also keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write FOLDER/noise-floor.json")
    parser.add_argument("--runs", type=Path, help="keep the runs here")
    asked = parser.parse_args()
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
    number, load = os.cpu_count() or 1, os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="dyno-noise-") as place:
        runs = (asked.runs or Path(place) / "runs").resolve()
        print("the machine left alone", file=sys.stderr, flush=True)
        alone = measured(asked.tasks, asked.blocks, runs)
        print(as_shown(alone, runs), flush=True)
        print(f"beside {number} busy processes", file=sys.stderr, flush=True)
        with hogs(number):
            beside_hogs = measured(asked.tasks, asked.blocks, runs)
        print(as_shown(beside_hogs, runs), flush=True)
    found = result(alone, beside_hogs, number, load)
    if asked.out:
        (asked.out / "noise-floor.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    for name in TIMES:
        floors = [found[side]["floor"].get(name, {}).get("shows_from") for side in ("alone", "beside_busy_processes")]
        print(
            f"{name}: a change shows from {_said(floors[0])} on alone, from {_said(floors[1])} on beside busy processes"
        )
    for fault in found["does_not_hold"]:
        print(f"does not hold: {fault}", file=sys.stderr)
    if found["does_not_hold"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
