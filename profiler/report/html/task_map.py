"""Tasks down, arms across: what each arm did on each task, coloured by the effect against the baseline. Pure."""

from __future__ import annotations

import statistics
from typing import Any, Final

from profiler.ab_document import AbDocument, TaskRow
from profiler.report.figures import seconds
from profiler.report.html.drawing import WIDTH, Choice, Drawing, altair, drawn, rows

__all__ = ["task_map"]

_STEPS: Final = (
    ("better by 2 × or more", "@better3"), ("better", "@better2"), ("a little better", "@better1"),
    ("about the same", "@same"),
    ("a little worse", "@worse1"), ("worse", "@worse2"), ("worse by 2 × or more", "@worse3"),
    ("baseline, or not told", "@soft"),
)  # fmt: skip
_LIMITS: Final = (1 / 2, 1 / 1.25, 1 / 1.05, 1.05, 1.25, 2)
_STRONG: Final = frozenset({_STEPS[0][0], _STEPS[6][0]})


def task_map(document: AbDocument) -> Drawing | None:
    """The map; `None` without tasks or points."""
    if not document.points or not document.tasks:
        return None
    effects = {(row.treatment, task.task): task for row in document.comparisons for task in row.tasks}
    lower = {row.treatment: row.primary.better == "lower" for row in document.comparisons}
    values = [
        _cell(document, arm.name, task, effects.get((arm.name, task)), lower=lower.get(arm.name, True))
        for task in document.tasks
        for arm in document.arms
    ]
    names = {step for step, _ in _STEPS if any(value["step"] == step for value in values)}
    return Drawing(
        name="task-map",
        title="Task × arm",
        about=f"In each cell how many passed, and their median time; its colour is the effect on "
        f"{_primary(document)} against {document.baseline}.",
        said=f"{len(document.tasks)} tasks by {len(document.arms)} arms",
        spec=_spec(len(document.tasks), names, [arm.name for arm in document.arms]),
        choices=(Choice("", {"cells": values}),),
        least_width=180 + 130 * len(document.arms),
    )


def _cell(document: AbDocument, arm: str, task: str, effect: TaskRow | None, *, lower: bool) -> dict[str, Any]:
    points = [p for p in document.points if p.arm == arm and p.task == task and not p.excluded]
    passed = [p for p in points if p.success]
    times = [p.time_s for p in passed if p.time_s is not None]
    step = _step(effect, lower=lower)
    took = f" · {seconds(statistics.median(times))}" if times else ""
    beside = f" · {_said(effect)}" if effect is not None and effect.value is not None else ""
    pairs = ", ".join("?" if value is None else f"{value:.2f}" for value in effect.pairs) if effect else ""
    return {
        "task": task,
        "arm": arm,
        "step": step,
        "text": f"{len(passed)}/{len(points)}{took}{beside}" if points else "not run",
        "strong": step in _STRONG,
        "effect": "the baseline" if arm == document.baseline else _said(effect),
        "pairs": pairs or "none",
    }


def _primary(document: AbDocument) -> str:
    return document.comparisons[0].primary.metric if document.comparisons else document.primary


def _said(effect: TaskRow | None) -> str:
    if effect is None or effect.value is None:
        return "not told"
    return f"× {effect.value:.3g}" if effect.scale == "ratio" else f"{effect.value:+.3g}"


def _step(effect: TaskRow | None, *, lower: bool) -> str:
    """How much better or worse; a difference of rates counts as the ratio that it is beside 1."""
    if effect is None or effect.value is None:
        return _STEPS[7][0]
    ratio = effect.value if effect.scale == "ratio" else max(0.01, 1 + effect.value)
    ratio = ratio if lower else 1 / max(ratio, 0.01)
    return _STEPS[sum(ratio > limit for limit in _LIMITS)][0]


def _spec(tasks: int, names: set[str], arms: list[str]) -> dict[str, Any]:
    alt = altair()
    used = [(step, colour) for step, colour in _STEPS if step in names]
    across = alt.X("arm:N", sort=arms, title=None).axis(
        orient="top", labelAngle=0, labelLimit=140, ticks=False, domain=False
    )
    down = alt.Y("task:N", sort=None, title=None).axis(labelLimit=170, ticks=False, domain=False)
    base = rows("cells")
    tips = [
        alt.Tooltip("task:N"),
        alt.Tooltip("arm:N"),
        alt.Tooltip("text:N", title="passed"),
        alt.Tooltip("effect:N"),
        alt.Tooltip("pairs:N"),
    ]
    colour = alt.Color("step:N", title=None).scale(domain=[s for s, _ in used], range=[c for _, c in used])
    cells = base.mark_rect(stroke="@paper", strokeWidth=3, cornerRadius=3).encode(
        across, down, color=colour, tooltip=tips
    )
    words = base.mark_text(fontSize=12).encode(
        across, down, text="text:N", color=alt.condition("datum.strong", alt.value("@onstrong"), alt.value("@text"))
    )
    return drawn(alt.layer(cells, words).properties(width=WIDTH, height=max(2, tasks) * 36))
