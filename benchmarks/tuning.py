"""Does `dyno tune` find the best of a known space on a real llama-server, and for how much less than optuna alone?

The space is that of a plan (`cache-levers`: 144 settings), rehearsed with the bundled model. What each setting costs is
first measured once and for all: every one of them on all tasks to tune on, so many times (`--truth`). Then, by seed:

    tuned    dyno tune from a hostile setting: is the winner within 2 % of the best, and what did the engine take
    alone    optuna's TPE on the same rehearsals, one setting on all tasks a trial, until the best one that it measured
             is within 2 %; it is not told when to stop, so that this flatters it
    none     dyno tune from the best setting: does it say that there is no better one

What counts are seconds of the engine, with its starts; confirming on held-out tasks is counted apart, since TPE
confirms nothing. Everything is stored under --runs and gone on with where it was killed. All of it takes hours:
`--seeds 1 --trials 20` shows that it works. Times are of one machine on which nothing else may run; with
`--primary evaluated_tokens` there is no noise.

Run: `python -m benchmarks.tuning --runs FOLDER [--seeds 10] [--trials 150] [--truth 3] [--primary NAME] [--out OUT]`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import optuna

from harness.cli.tune_plan import TuneAsked, plan_of
from harness.cli.tune_stand import Engines
from harness.sandbox.choice import choose
from harness.tune.costs import is_ratio, mean_costs
from harness.tune.plan import Stage, TunePlan
from harness.tune.space import Point
from harness.tune.tuning import Tuning
from harness.tune.writing import setting_text

PLAN: Final = "cache-levers"
NEAR: Final = 1.02
WANTED: Final = 0.9
FIFTH: Final = 5
AT_ONCE: Final = 16
"""Settings of one experiment of the table: a kill costs little, and no experiment has hundreds of arms."""


def laboratory(path: Path, plan: TunePlan) -> Engines:
    """The engines for stages in a folder, confined as everywhere."""
    path.mkdir(parents=True, exist_ok=True)
    return Engines(path, plan, *choose(allow_none=False))


def truth(path: Path, plan: TunePlan, blocks: int) -> dict[Point, float]:
    """What every setting costs: the mean over tasks and blocks, of a ratio metric its logarithm."""
    tasks = tuple(task.name for task in plan.tasks)
    points = plan.space.points()
    found: dict[Point, float] = {}
    lab = laboratory(path, plan)
    for number, first in enumerate(range(0, len(points), AT_ONCE)):
        some = points[first : first + AT_ONCE]
        result = lab.perform(Stage(f"truth-{number:02d}", "rehearse", some, tasks, blocks))
        costs = mean_costs(result.observations, plan.declared.primary)
        for point in some:
            each = [costs[plan.space.label(point), task] for task in tasks]
            found[point] = statistics.fmean(each)
    return found


def above_best(cost: float, costs: dict[Point, float], plan: TunePlan) -> float:
    """How far a cost is above the least one: a ratio, or 1 and the difference."""
    least = min(costs.values())
    return math.exp(cost - least) if is_ratio(plan.declared.primary) else 1 + cost - least


def tuned(path: Path, plan: TunePlan, costs: dict[Point, float]) -> dict[str, Any]:
    """One tuning, whole."""
    tuning = Tuning(plan, laboratory(path, plan))
    tuning.run()
    point = tuning.chosen or plan.space.current
    return {
        "seed": plan.seed,
        "chosen": plan.space.label(point),
        "above_best": above_best(costs[point], costs, plan) if point in costs else None,
        "word": tuning.confirmed.word if tuning.confirmed else None,
        "found_s": tuning.spent_s - tuning.confirmed_s,
        "confirmed_s": tuning.confirmed_s,
        "dispatches": tuning.dispatches,
    }


def alone(path: Path, plan: TunePlan, costs: dict[Point, float], trials: int) -> dict[str, Any]:
    """TPE on the same rehearsals, until its best one is near the best of all."""
    lab, space = laboratory(path, plan), plan.space
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=plan.seed))
    tasks, spent_s, best = tuple(task.name for task in plan.tasks), 0.0, space.current
    least = float("inf")
    for number in range(trials):
        trial = study.ask()
        asked = tuple(str(trial.suggest_categorical(lever.name, lever.levels)) for lever in space.levers)
        point = space.canonical(asked)
        result = lab.perform(Stage(f"trial-{number:03d}", "rehearse", (point,), tasks))
        spent_s += result.engine_s
        cost = statistics.fmean(mean_costs(result.observations, plan.declared.primary).values())
        study.tell(trial, cost)
        if cost < least:
            least, best = cost, point
        if above_best(costs[best], costs, plan) <= NEAR:
            return {"seed": plan.seed, "trials": number + 1, "engine_s": spent_s, "reached": True}
    return {"seed": plan.seed, "trials": trials, "engine_s": spent_s, "reached": False}


def judged(rows: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, bool]]:
    """What the issue asks for, and whether it holds."""
    seeds = len(rows["tuned"])
    near = sum(row["above_best"] is not None and row["above_best"] <= NEAR for row in rows["tuned"])
    yield f"within 2 % of the best: {near} of {seeds}", near >= WANTED * seeds
    none = sum(row["word"] != "better" for row in rows["none"])
    yield f"says that there is no better setting: {none} of {seeds}", none >= WANTED * seeds
    ours = statistics.median(row["found_s"] for row in rows["tuned"])
    theirs = sorted(row["engine_s"] for row in rows["alone"])[max(0, round(WANTED * seeds) - 1)]
    median = statistics.median(row["engine_s"] for row in rows["alone"])
    yield (
        f"engine time: {ours:.0f} s to find, TPE alone {theirs:.0f} s for nine of ten and {median:.0f} s in the median",
        FIFTH * ours <= theirs,
    )


def main() -> None:
    """Measure all of it, print what holds; 1 if something does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--plan", default=PLAN)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--truth", type=int, default=3)
    parser.add_argument("--primary")
    parser.add_argument("--pauses", type=int)
    parser.add_argument("--out", type=Path, help="write FOLDER/tuning.json")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # No earlier experiments are looked for: each tuning measures what a dispatch takes, and pays for it.
    wanted = TuneAsked(what=asked.plan, primary=asked.primary, pauses=asked.pauses, runs=asked.runs / "none")
    plan, _ = plan_of(wanted)
    costs = truth(asked.runs / "truth", plan, asked.truth)
    best = min(costs, key=lambda point: costs[point])
    print(f"best of {len(costs)}: {plan.space.label(best)}", file=sys.stderr, flush=True)
    best_file = asked.runs / "best.toml"
    best_file.write_text(setting_text(plan.space.setting_of(best), "the best of the table", []))
    varied = tuple(f"{lever.name}={','.join(lever.levels)}" for lever in plan.space.levers)
    typed = msgspec.structs.replace(
        wanted,
        what=str(best_file),
        vary=varied,
        target=plan.target,
        rehearse=True,
        budget_min=plan.budget_s / 60,
        tasks=",".join(task.name for task in plan.tasks),
        held_out=",".join(task.name for task in plan.held_out),
    )
    from_best, _ = plan_of(typed)
    rows: dict[str, list[dict[str, Any]]] = {"tuned": [], "alone": [], "none": []}
    for seed in range(asked.seeds):
        here, there = (msgspec.structs.replace(one, seed=seed) for one in (plan, from_best))
        rows["tuned"].append(tuned(asked.runs / f"tuned-{seed}", here, costs))
        rows["alone"].append(alone(asked.runs / f"alone-{seed}", here, costs, asked.trials))
        rows["none"].append(tuned(asked.runs / f"none-{seed}", there, costs))
        print(json.dumps({name: found[-1] for name, found in rows.items()}), file=sys.stderr, flush=True)
    holds = list(judged(rows))
    for text, held in holds:
        print(f"{'holds' if held else 'DOES NOT HOLD'}: {text}")
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        document = {"settings": len(costs), "best": plan.space.label(best), "primary": plan.primary, **rows}
        (asked.out / "tuning.json").write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(0 if all(held for _, held in holds) else 1)


if __name__ == "__main__":
    main()
