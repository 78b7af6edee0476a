"""A comparison of quants from what was typed to its report: predict, plan, say the cost, go through it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from backends.base import EngineError
from harness.cli.cache_run import chosen_sessions
from harness.cli.quant_report import check_chart, print_comparison, print_predictions
from harness.cli.quant_stand import QuantStand, given_up
from harness.quant.base import Wanted
from harness.quant.candidates import Choice, check_enough
from harness.quant.cost import Costs
from harness.quant.flips import Position, positions_of_sessions, positions_of_tasks, spread
from harness.quant.measured import results_of
from harness.quant.plan import QuantPlan, Step, steps_of
from harness.quant.planning import QuantAsked, choice_of, costs_of, planned, same_files, sessions_of_plan
from harness.quant.prediction import Predictions, predict_all
from harness.quant.running import Progress, go_through, still_to_do
from harness.quant.scoring import Scoring, by_position, can_score
from harness.quant.store import Comparison, StepWriter, StoredComparison, create, find_comparison, read_comparison
from harness.sandbox.base import Sandbox
from harness.sandbox.choice import choose
from harness.sessions import Session
from harness.settings import find_setting
from profiler.report.figures import seconds
from profiler.run_names import new_run_id

__all__ = ["QuantAsked", "run_quant"]

POSITIONS_SEED = 97
"""Contents of the tasks whose calls are asked again: others than those that are dispatched."""


NO_QUALITY = (
    "quality was not measured: it needs llama-cpp-python for GGUF files with more than 32,768 tokens of vocabulary "
    "(pip install 'llmdyno[llama-cpp]'), mlx-lm for MLX folders (pip install 'llmdyno[mlx]')"
)


def run_quant(asked: QuantAsked) -> Path | None:
    """Predict; then plan a comparison or go on with one, do what is left of it, and report what there is.

    Gives the comparison's folder; `None` where nothing was to be measured.

    Raises:
        PlanError, TargetError, SessionError, TaskError: something that was named cannot be used.
        MissingExtra, SandboxError, StoreError: no engine, no confinement, no place.
        EngineError: no candidate could be measured; after the report that says why.
        KeyboardInterrupt: after what was measured was reported.
    """
    check_chart(asked.chart)
    if asked.predict_only and not asked.resume:
        print_predictions(asked, *_predicted(asked))
        return None
    path = find_comparison(asked.runs, asked.resume) if asked.resume else _begun(asked)
    if path is None:
        return None
    print(f"comparison {path.name} in {path}", file=sys.stderr, flush=True)
    try:
        _go_on(asked, path)
    finally:
        print_comparison(asked, read_comparison(path))
    _check_any(read_comparison(path))
    return path


def _check_any(stored: StoredComparison) -> None:
    """Whether any candidate could be measured. Raises EngineError."""
    results = results_of(stored)
    failed = [one.failed for one in results if one.failed is not None]
    if failed and len(failed) == len(results):
        hint = "repair that, or name an engine with --engine and its settings with --set; then begin a new comparison"
        raise EngineError(f"none of {len(failed)} candidates could be measured: {failed[0]}", hint=hint)


def _predicted(asked: QuantAsked) -> tuple[Choice, Wanted, Predictions]:
    choice, wanted = choice_of(asked)
    if not asked.predict_only:
        check_enough(choice)
    return choice, wanted, predict_all(choice, wanted, machine=asked.machine, all_quants=asked.predict_only)


def _begun(asked: QuantAsked) -> Path | None:
    """The folder of a new comparison; `None` where only its plan was wanted."""
    choice, wanted, predicted = _predicted(asked)
    own = chosen_sessions(list(asked.sessions)) if asked.sessions else ()
    scores = can_score(choice)
    plan = planned(asked, choice, wanted, predicted.by_name, own, scores=scores, by_position=by_position(choice))
    _say_plan(plan, costs_of(plan, predicted.by_name, sessions_of_plan(plan, own)))
    long = [one.name for one in own if one.name not in plan.amount.sessions]
    if long:
        print(
            f"dyno: too long for a context of {wanted.context_tokens:,}, left out: {', '.join(long)}", file=sys.stderr
        )
    if asked.plan_only:
        return None
    now = time.time_ns()  # noqa: TID251 (the date of a comparison)
    return create(
        asked.runs,
        Comparison(
            new_run_id(now),
            now,
            plan,
            predicted.by_name,
            predicted.machine,
            notes=(*predicted.notes, *(() if scores else (NO_QUALITY,))),
        ),
    )


def _go_on(asked: QuantAsked, path: Path) -> None:
    stored = read_comparison(path)
    plan = stored.comparison.plan
    steps = steps_of(plan)
    todo = still_to_do(steps, stored.done)
    if not todo:
        return
    if stored.done:
        same_files(plan.choice)
        print(f"{len(steps) - len(todo)} of {len(steps)} steps were done before", file=sys.stderr, flush=True)
    own = () if plan.short_sessions else chosen_sessions(list(plan.named_sessions))
    sessions = sessions_of_plan(plan, own)
    sandbox, capabilities = choose(allow_none=asked.no_sandbox)
    positions = _positions(plan, own, sandbox)
    scoring = Scoring(plan, path)
    stand = QuantStand(stored, sandbox, capabilities, positions=positions, sessions=sessions, scoring=scoring)
    teller = _Teller(costs_of(plan, stored.comparison.predicted, sessions), todo, steps)
    with closing(StepWriter(path)) as writer:
        go_through(todo, stand.sit, writer.step, failed=given_up, on_done=teller.tell)


def _positions(plan: QuantPlan, own: Sequence[Session], sandbox: Sandbox) -> tuple[Position, ...]:
    """The recorded calls of the user's sessions, else those of toolbench's scripted agents."""
    if not plan.amount.positions:
        return ()
    found = positions_of_sessions(own)
    if not found:
        setting = find_setting(plan.setting)
        found = positions_of_tasks(plan.amount.position_tasks, POSITIONS_SEED, setting, sandbox, time.perf_counter_ns)
    return spread(found, plan.amount.positions)


def _say_plan(plan: QuantPlan, costs: Costs) -> None:
    """Before anything runs: what will be measured, and about how long it takes."""
    amount, choice = plan.amount, plan.choice
    names = ", ".join(one.name for one in choice.candidates)
    engines = ", ".join(dict.fromkeys(one.target.engine for one in choice.candidates))
    steps = steps_of(plan)
    tasks = len(amount.tasks) * amount.task_rounds
    sessions = ", ".join(amount.sessions) or "no sessions"
    depths = ", ".join(map(str, amount.depths.depths_tokens)) or "none"
    chunks = f"{amount.chunks} chunks of {amount.chunk_tokens} tokens" if amount.chunks else "not measured"
    lines = [
        f"{names}: on {engines}, context {plan.wanted.context_tokens:,} × {plan.wanted.slots}, reference "
        f"{choice.reference.name}",
        f"  {_counted(amount.rounds, 'round')} in random order (seed {plan.seed}): load, memory, rates at {depths}",
        f"  tasks: {_counted(tasks, 'dispatch', 'es')} each ({plan.fidelity}); cache: {sessions}; flips: "
        f"{amount.positions} calls",
        f"  quality: {chunks}",
        f"{len(steps)} steps, about {_minutes(costs.total_s(steps))}: more with --budget, --repeats and --tasks",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _counted(count: int, word: str, many: str = "s") -> str:
    return f"{count} {word}{'' if count == 1 else many}"


def _minutes(duration_s: float) -> str:
    return f"{duration_s / 60:.0f} min" if duration_s >= 90 else f"{duration_s:.0f} s"


class _Teller:
    """Tells of every step that has ended, and about how long the rest will take."""

    def __init__(self, costs: Costs, todo: Sequence[Step], steps: Sequence[Step]) -> None:
        self._costs = costs
        self._began = time.monotonic()
        self._expected_s = 0.0
        self._of, self._before = len(steps), len(steps) - len(todo)

    def tell(self, progress: Progress) -> None:
        """A line on standard error."""
        done, left = progress.done, progress.left
        self._expected_s += self._costs.of(done.step)
        # What was expected of the steps so far against what they took corrects what is expected of the rest.
        pace = (time.monotonic() - self._began) / self._expected_s if self._expected_s else 1.0
        rest = f" · about {_minutes(self._costs.total_s(left) * pace)} left" if left else ""
        where = f"round {done.step.round} · " if done.step.round else ""
        what = f"{where}{done.step.candidate} · {done.step.task or done.step.kind}"
        said = f"failed: {done.failed}" if done.failed else seconds(done.took_s)
        print(f"[{self._of - len(left)}/{self._of}] {what}: {said}{rest}", file=sys.stderr, flush=True)
