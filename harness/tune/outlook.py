"""What a tuning will do and what it will cost, told before it begins. Measures nothing."""

from __future__ import annotations

from harness.experiment.plan import FEWEST_TASKS
from harness.tune.allotment import (
    Confirmation,
    Screening,
    confirmation,
    cost_of_rungs,
    minutes,
    rungs_for,
    screening,
)  # fmt: skip
from harness.tune.choosing import decided_by_dispatch
from harness.tune.plan import TunePlan
from harness.tune.space import MOST_LISTED
from harness.tune.tuning import MOST_SIMULATED, simulated_tasks

__all__ = ["told_before"]


def told_before(plan: TunePlan) -> list[str]:
    """The plan in lines. Raises PlanError where the budget is known not to reach."""
    space = plan.space
    listed = len(space.points()) if space.combinations <= MOST_LISTED else None
    can = f"{listed} that can be run and are not the same" if listed is not None else "too many to list"
    lines = [f"{plan.title}: {space.combinations} combinations of {len(space.levers)} levers, {can}"]
    lines += [f"  {lever.name}: {', '.join(lever.levels)}" for lever in space.levers]
    lines.append(f"tuned on {len(plan.tasks)} tasks, confirmed on {len(plan.held_out)} others, {plan.fidelity}")
    if len(plan.held_out) < FEWEST_TASKS:
        lines.append(f"fewer than {FEWEST_TASKS} held-out tasks: only a large gain can be shown on them (--held-out)")
    guards = ", ".join(plan.guards) or "none"
    lines.append(
        f"objective {plan.primary} (what is better by less than {plan.margin:g} does not matter), guards {guards}"
    )
    open_levers = decided_by_dispatch(space)
    if plan.fidelity == "dispatch" and open_levers:
        lines.append(
            f"only the race decides on {', '.join(open_levers)}: a rehearsal tells what they cost, not what they do"
        )
    if plan.simulated:
        number = min(MOST_SIMULATED, listed or MOST_SIMULATED)
        lines.append(
            f"1. simulate {number} settings on {simulated_tasks(number, len(plan.tasks))} tasks: no engine time"
        )
    return lines + _stages(plan, listed)


def _stages(plan: TunePlan, listed: int | None) -> list[str]:
    known = {**dict.fromkeys(("rehearse", "dispatch")), **plan.known_s}
    counts = (len(plan.space.levers), len(plan.tasks), len(plan.held_out))
    size: Screening = screening(*counts, plan.budget_s, known, plan.fidelity, simulated=plan.simulated)
    rehearsal_s, each_s = known["rehearse"], known[plan.fidelity]
    spent_s = size.dispatches * rehearsal_s if rehearsal_s is not None else 0.0
    rungs = rungs_for(
        (listed or plan.space.combinations) - 1, len(plan.tasks), plan.budget_s - spent_s, each_s, counts[2]
    )
    raced = cost_of_rungs(rungs)
    spent_s += raced * each_s if each_s is not None else 0.0
    last: Confirmation = confirmation(counts[2], plan.budget_s - spent_s, each_s)
    fold = "with its fold-over" if size.fold else "without a fold-over"
    lines = [
        f"2. screen: Plackett–Burman {fold}, {size.runs} runs × {size.tasks} tasks = {size.dispatches} rehearsals",
        f"3. race: {' → '.join(f'{rung.candidates} settings × {rung.pairs} tasks' for rung in rungs)}, at most {raced}",
        f"4. confirm: 2 settings × {last.tasks} held-out tasks × {last.blocks} = {last.dispatches}",
    ]
    total = f"at most {size.dispatches + raced + last.dispatches} dispatches, warm-ups among them"
    if rehearsal_s is None or each_s is None:
        return [
            *lines,
            f"{total}; what they take is unknown until one was measured; the budget is {minutes(plan.budget_s)}",
        ]
    whole_s = spent_s + last.dispatches * each_s
    return [*lines, f"{total}: about {minutes(whole_s)} of {minutes(plan.budget_s)}, by earlier dispatches"]
