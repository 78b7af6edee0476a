"""The page of an experiment: verdicts, effects, tasks, every dispatch. A document in, one HTML text out; no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from profiler.ab_document import AbDocument, ArmRow, ComparisonRow, MetricRow
from profiler.records import RunInfo
from profiler.report.ab import metric_cells, part_cells, verdict_line
from profiler.report.ab_tables import cache_cells
from profiler.report.figures import UNKNOWN, seconds
from profiler.report.html.drawing import Drawing
from profiler.report.html.effects_chart import effects_chart, points_chart
from profiler.report.html.rendering import limited, rendered, verdict_of
from profiler.report.html.task_map import task_map
from profiler.report.memory import size

__all__ = ["experiment_drawings", "experiment_page"]

_MOST_POINTS: Final = 400
_MOST_DOUBTS: Final = 8


def experiment_drawings(document: AbDocument) -> list[Drawing]:
    """The charts of the page, in their order. Raises ChartsMissing."""
    made = [effects_chart(document), task_map(document), points_chart(document)]
    return [one for one in made if one is not None]


def experiment_page(document: AbDocument, infos: Sequence[RunInfo], folder: str) -> str:
    """The page; `infos` are its loads’, `folder` is where it is stored.

    Raises:
        ChartsMissing: the extra `charts` is not installed.
    """
    doubtful = [point for point in document.points if point.doubts]
    doubts = [f"{row.dispatches} ×, at worst: {row.worst}" for row in document.doubts]
    differing = list(dict.fromkeys(lever for arm in document.arms for lever in arm.differs))
    return rendered(
        "experiment",
        experiment_drawings(document),
        document=document,
        folder=folder,
        verdicts=[verdict_of(verdict_line(document, row)) for row in document.comparisons],
        tiles=_tiles(document),
        doubts=_doubts(document, len(doubtful)),
        comparisons=[_comparison(row) for row in document.comparisons],
        cache_heads=["arm", "hit", "part", "full miss", "evaluated", "lost", "lost tokens by cause"],
        caches=[[arm.name, *cache_cells(arm.cache)] for arm in document.arms if arm.cache is not None],
        differing_heads=["lever", *(arm.name for arm in document.arms)],
        differing=[[lever, *(_lever(document, arm, lever) for arm in document.arms)] for lever in differing],
        point_heads=["ended", "arm", "task", "no.", "block", "score", "took", "turns"],
        points=_points(document),
        points_left=max(0, len(document.points) - _MOST_POINTS),
        environment=_environment(infos),
        guards=limited(doubts, _MOST_DOUBTS),
        footer=f"{document.fidelity} · cache {document.cache} · order by seed {document.seed} · "
        f"dyno {document.kind} --resume {document.experiment}",
    )


def _tiles(document: AbDocument) -> list[tuple[str, str, str]]:
    state = {"complete": "complete", "partial": "not finished", "stopped": "decided early"}[document.status]
    blocks = f"{len(document.tasks)} tasks × {document.blocks} block{'s' if document.blocks != 1 else ''}"
    tiles = [("dispatches", f"{document.done} of {document.planned}", f"{blocks} × {len(document.arms)} arms; {state}")]
    for arm in document.arms:
        role = "the baseline; " if arm.name == document.baseline else ""
        tiles.append((arm.name, f"{arm.passed}/{arm.outcomes} passed", f"{role}median {seconds(arm.median_s)}"))
    return tiles


def _doubts(document: AbDocument, doubtful: int) -> list[str]:
    lines = list(dict.fromkeys(document.notes))
    if doubtful:
        lines.insert(0, f"{doubtful} of {len(document.points)} dispatches were disturbed: their times are doubtful")
    if any(row.sequential is not None for row in document.comparisons):
        lines.append("Looked at after every pair: intervals and p are for a fixed number, and too sure here.")
    return limited(lines, _MOST_DOUBTS)


def _comparison(row: ComparisonRow) -> dict[str, Any]:
    metrics = [row.primary, *(guard.metric for guard in row.guards), *row.metrics]
    told = [metric for metric in metrics if metric.low is not None or metric.high is not None]
    return {
        "title": f"{row.treatment} against {row.baseline}",
        "part_heads": ["where the time went", "baseline", "treatment", "difference", "interval"],
        "parts": [part_cells(part) for part in row.parts],
        "metric_heads": ["metric", "treatment", "interval", "p", "pairs", "tasks"],
        "metrics": [metric_cells(metric) for metric in told],
        "guards": [
            *(f"guard: {guard.metric.metric} may get worse by {guard.margin:g}: {guard.state}" for guard in row.guards),
            *row.reasons,
            *_untold(metrics, told),
        ],
    }


def _untold(metrics: Sequence[MetricRow], told: Sequence[MetricRow]) -> list[str]:
    left = len(metrics) - len(told)
    return [f"{left} more metrics have no interval here: --json says why of each"] if left else []


def _lever(document: AbDocument, arm: ArmRow, lever: str) -> str:
    """The value of a lever in an arm: where it does not differ, it is the baseline's, which the others tell."""
    if lever in arm.differs:
        return arm.differs[lever][1]
    base = next((other.differs[lever][0] for other in document.arms if lever in other.differs), UNKNOWN)
    return base if arm.name == document.baseline else "the same"


def _points(document: AbDocument) -> list[list[str]]:
    rows: list[list[str]] = []
    for point in document.points[:_MOST_POINTS]:
        turns = point.measures.get("turns")
        ended = f"{point.exit_status}: does not count" if point.excluded else point.exit_status
        rows.append([
            ended, point.arm, point.task, str(point.order + 1), str(point.block),
            UNKNOWN if point.score is None else f"{point.score:.2f}",
            seconds(point.time_s) + ("*" if point.doubts else ""),
            UNKNOWN if turns is None else f"{turns:.0f}",
        ])  # fmt: skip
    return rows


def _environment(infos: Sequence[RunInfo]) -> list[tuple[str, str]]:
    """What all loads say, each value once."""
    told: dict[str, list[str]] = {}
    for info in infos:
        facts, machine = info.facts, info.machine
        said = {
            "engine": f"{facts.engine} {facts.build or ''}".strip(), "model": facts.model or "", "target": info.target,
            "system": machine.system, "processor": machine.cpu or "", "memory": size(machine.memory_bytes),
            "GPU": ", ".join(machine.gpus), **info.versions,
        }  # fmt: skip
        for name, value in said.items():
            if value and value not in told.setdefault(name, []):
                told[name].append(value)
    return [(name, "; ".join(values)) for name, values in told.items() if values]
