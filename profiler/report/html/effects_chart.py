"""What an arm's treatment did: every metric with its interval, and the pairs and dispatches that it rests on. Pure.

Ratios and differences have panels of their own. An interval without a bound ends at the edge of its panel.
"""

from __future__ import annotations

from typing import Any, Final

from profiler.ab_document import AbDocument, ComparisonRow, MetricRow
from profiler.report.html.drawing import WIDTH, Choice, Drawing, altair, drawn, rows

__all__ = ["effects_chart", "points_chart"]

_STEP: Final = 30
_NEAR_TICKS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2)
_FAR_TICKS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_ROLES: Final = {"primary": "@new", "guard": "@tool", "exploratory": "@faint"}
_FARTHEST: Final = 100.0
"""A ratio that lies farther out than this, or its reverse, is drawn there."""


def effects_chart(document: AbDocument) -> Drawing | None:
    """Ratios of every treatment's metrics; `None` where none is told. A choice for each comparison."""
    told = [(row, _ratios(row)) for row in document.comparisons]
    told = [(row, metrics) for row, metrics in told if metrics]
    if not told:
        return None
    choices = tuple(Choice(f"{row.treatment} against {row.baseline}", _data(row, metrics)) for row, metrics in told)
    lines = max(len(metrics) for _, metrics in told)
    untold = sum(len(_all(row)) - len(metrics) for row, metrics in told)
    return Drawing(
        name="effects",
        title="Effects",
        about="Treatment by baseline: left of 1 is less. Dots with their interval are the estimates; small circles in "
        "the first line are the single pairs. The band is what counts as equivalent.",
        said="; ".join(f"{row.treatment}: {row.primary.metric} {row.primary.text}" for row, _ in told),
        spec=_effects(choices, lines),
        choices=choices,
        notes=(f"{untold} metrics have no ratio with an interval, and are not drawn",) if untold else (),
    )


def points_chart(document: AbDocument) -> Drawing | None:
    """Every dispatch by its arm and its time; `None` where no time is told."""
    values = [
        {
            "arm": point.arm,
            "s": point.time_s,
            "task": point.task,
            "block": point.block,
            "ended": "does not count" if point.excluded else "passed" if point.success else "not passed",
            "doubts": "; ".join(point.doubts) or "none",
        }
        for point in document.points
        if point.time_s is not None
    ]
    if not values:
        return None
    return Drawing(
        name="points",
        title="Every dispatch",
        about="One mark for each dispatch, placed by the time that it took. A tick is the median of those that passed.",
        said=f"Times of {len(values)} dispatches by arm",
        spec=_points([arm.name for arm in document.arms]),
        choices=(Choice("", {"points": values}),),
    )


def _all(row: ComparisonRow) -> list[tuple[str, MetricRow]]:
    guards = [("guard", guard.metric) for guard in row.guards]
    return [("primary", row.primary), *guards, *(("exploratory", metric) for metric in row.metrics)]


def _ratios(row: ComparisonRow) -> list[tuple[str, MetricRow]]:
    return [
        (role, metric)
        for role, metric in _all(row)
        if metric.scale == "ratio" and metric.value is not None and (metric.low, metric.high) != (None, None)
    ]


def _data(row: ComparisonRow, metrics: list[tuple[str, MetricRow]]) -> dict[str, list[dict[str, Any]]]:
    estimates = [
        {
            "metric": metric.metric.replace("_", " "),
            "role": role,
            "value": _within(metric.value),
            "low": _within(metric.low, 1 / _FARTHEST),
            "high": _within(metric.high, _FARTHEST),
            "text": metric.text,
        }
        for role, metric in metrics
    ]
    first = estimates[0]["metric"] if metrics[0][0] == "primary" else ""
    pairs = [
        {"metric": first, "value": _within(value), "task": task.task}
        for task in row.tasks
        for value in task.pairs
        if value is not None and first and task.scale == "ratio"
    ]
    return {
        "estimates": estimates,
        "pairs": pairs,
        "margin": [{"low": 1 - row.margin, "high": 1 / (1 - row.margin)}],
        "one": [{"value": 1}],
    }


def _within(value: float | None, otherwise: float = 1.0) -> float:
    return otherwise if value is None else min(max(value, 1 / _FARTHEST), _FARTHEST)


def _effects(choices: tuple[Choice, ...], lines: int) -> dict[str, Any]:
    alt = altair()
    ends = [
        r[k]
        for c in choices
        for name in ("estimates", "pairs")
        for r in c.data[name]
        for k in ("low", "high", "value")
        if k in r
    ]
    least, most = min(*ends, 0.8) / 1.1, max(*ends, 1.25) * 1.1
    marks = _FAR_TICKS if most / least > 4 else _NEAR_TICKS
    ticks = [tick for tick in marks if least <= tick <= most]
    roles = {row["role"] for choice in choices for row in choice.data["estimates"]}
    used = {role: shade for role, shade in _ROLES.items() if role in roles}
    scale = alt.Scale(type="log", domain=[least, most], nice=False)
    axis = alt.Axis(values=ticks, format="~g", gridColor="@grid")
    across = alt.X("value:Q", title="ratio (log)", scale=scale, axis=axis)
    down = alt.Y("metric:N", sort=None, title=None).axis(labelLimit=150, ticks=False, domain=False)
    colour = alt.Color("role:N", title=None).scale(domain=list(used), range=list(used.values()))
    tips = [alt.Tooltip("metric:N"), alt.Tooltip("role:N"), alt.Tooltip("text:N", title="estimate")]
    base = rows("estimates")
    layers = [
        rows("margin").mark_rect(color="@soft").encode(alt.X("low:Q", scale=scale), alt.X2("high:Q")),
        rows("one").mark_rule(color="@faint").encode(across),
        rows("pairs").mark_point(size=36, color="@text", opacity=0.45, strokeWidth=1.2, yOffset=0)
        .encode(across, down, tooltip=["task:N", alt.Tooltip("value:Q", format=".3~f", title="ratio")]),
        base.mark_rule(strokeWidth=2.5).encode(alt.X("low:Q", scale=scale), alt.X2("high:Q"), down, color=colour),
        base.mark_point(size=110, filled=True, opacity=1).encode(across, down, color=colour, tooltip=tips),
    ]  # fmt: skip
    return drawn(alt.layer(*layers).properties(width=WIDTH, height=max(2, lines) * _STEP))


def _points(arms: list[str]) -> dict[str, Any]:
    alt = altair()
    ends = {"passed": "@good", "not passed": "@bad", "does not count": "@faint"}
    down = alt.Y("arm:N", sort=arms, title=None).axis(labelLimit=150, ticks=False, domain=False)
    across = alt.X("s:Q", title="seconds").axis(tickCount=6).scale(zero=True)
    base, took = rows("points"), alt.Tooltip("s:Q", title="seconds", format=".3~f")
    marks = base.mark_point(size=70, strokeWidth=2, opacity=0.85).encode(
        across, down,
        color=alt.Color("ended:N", title=None).scale(domain=list(ends), range=list(ends.values())),
        shape=alt.Shape("ended:N", title=None).scale(domain=list(ends), range=["circle", "cross", "diamond"]),
        tooltip=["task:N", "arm:N", "block:O", "ended:N", took, "doubts:N"],
    )  # fmt: skip
    middle = base.transform_filter("datum.ended == 'passed'").transform_aggregate(s="median(s)", groupby=["arm"])
    middle = middle.mark_tick(thickness=2.5, size=30, color="@text").encode(alt.X("s:Q"), down)
    return drawn(alt.layer(middle, marks).properties(width=WIDTH, height=max(2, len(arms)) * 44))
