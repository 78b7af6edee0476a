"""Two tables of an experiment: what the arms' caches did, and the effect on each task. Document in, table out."""

from __future__ import annotations

from rich.table import Table

from profiler.ab_document import AbDocument, TaskRow
from profiler.report.figures import UNKNOWN

__all__ = ["caches_table", "tasks_table"]


def caches_table(document: AbDocument) -> Table:
    """What the caches did, over all dispatches of an arm."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("prompt cache", overflow="fold")
    for head in ("hit", "part", "full miss", "evaluated", "lost"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("lost tokens by cause", overflow="fold")
    for arm in document.arms:
        if (row := arm.cache) is None:
            continue
        continued = row.hits + row.partial + row.full_misses
        shares = [f"{n}/{continued}" for n in (row.hits, row.partial, row.full_misses)]
        causes = ", ".join(f"{code} {tokens:,}" for code, tokens in row.lost_by_cause_tokens.items())
        table.add_row(arm.name, *shares, _count(row.evaluated_tokens), _count(row.lost_tokens), causes or "none")
    return table


def _count(tokens: int | None) -> str:
    return UNKNOWN if tokens is None else f"{tokens:,}"


def tasks_table(document: AbDocument) -> Table:
    """Tasks down, arms across: the effect, and of how many pairs."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("task", overflow="fold")
    for row in document.comparisons:
        table.add_column(row.treatment, justify="right")
    for number, first in enumerate(document.comparisons[0].tasks):
        table.add_row(first.task, *(_effect(row.tasks[number]) for row in document.comparisons))
    return table


def _effect(row: TaskRow) -> str:
    """The figure with its pairs; where not every pair has one, which arm won them."""
    known = [_of_task(row, value) for value in row.pairs if value is not None]
    value = "" if row.value is None else f"{'× ' if row.scale == 'ratio' else ''}{_of_task(row, row.value)}"
    shown = f"{value} ({', '.join(known)})" if known else UNKNOWN
    if len(known) == len(row.pairs) or row.won is None or row.lost is None:
        return shown
    beside = f"won {row.won}, lost {row.lost} of {len(row.pairs)}"
    return f"{shown}; {beside}" if known else beside


def _of_task(row: TaskRow, value: float) -> str:
    return f"{value:.2f}" if row.scale == "ratio" else f"{value:+.2f}".replace("-", "−")
