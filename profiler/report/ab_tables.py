"""Tables of an experiment: the arms' caches, the effect on each task, and every dispatch. Document in, text out."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from profiler.ab_document import AbDocument, CacheRow, PointRow, TaskRow
from profiler.report.figures import UNKNOWN, count, seconds

__all__ = ["cache_cells", "caches_table", "every_dispatch", "tasks_table"]

NAME_WIDTH = 24
"""A name is broken only if it is longer than this."""


def caches_table(document: AbDocument) -> Table:
    """What the caches did, over all dispatches of an arm."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("prompt cache", overflow="fold")
    for head in ("hit", "part", "full miss", "evaluated", "lost"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("lost tokens by cause", overflow="fold")
    for arm in document.arms:
        if arm.cache is not None:
            *cells, causes = cache_cells(arm.cache)
            table.add_row(arm.name, *cells, causes.replace(", ", "\n"))
    return table


def cache_cells(row: CacheRow) -> list[str]:
    """What an arm's cache did, as the cells of a line.

    Lost are the tokens that a cause was charged with, or, where no cause could be told, all that was not reused. Text
    that was taken out of the prompt is not reused either, but nobody evaluates it again, so no cause is charged.
    """
    charged = row.lost_by_cause_tokens
    lost = sum(charged.values()) if charged else row.lost_tokens
    continued = row.hits + row.partial + row.full_misses
    shares = [f"{n}/{continued}" for n in (row.hits, row.partial, row.full_misses)]
    causes = ", ".join(f"{code} {tokens:,}" for code, tokens in charged.items())
    return [*shares, count(row.evaluated_tokens), count(lost), causes or ("not told" if lost else "none")]


def tasks_table(document: AbDocument) -> Table:
    """Tasks down, arms across: the effect, and of how many pairs."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    rows = document.comparisons[0].tasks
    table.add_column("task", overflow="fold", min_width=_width([row.task for row in rows]))
    for row in document.comparisons:
        table.add_column(row.treatment, justify="right")
    for number, first in enumerate(rows):
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


def every_dispatch(document: AbDocument) -> list[RenderableType]:
    """Every dispatch in the order in which they ran; what is the same of all of them is said above the table."""
    rows = [_point(point) for point in document.points]
    same = {
        head: rows[0][head] for head in ("block", "ended", "score") if len({row[head] for row in rows}) == 1 < len(rows)
    }
    all_of = ", ".join(value if head == "ended" else f"{head} {value}" for head, value in same.items())
    heading = "every dispatch, in the order in which they ran"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in rows[0]:
        if head in same:
            continue
        words = head in ("arm", "task", "ended")
        width = _width([head, *(row[head] for row in rows)]) if words else None
        table.add_column(
            head, justify="left" if words else "right", overflow="fold", no_wrap=not words, min_width=width
        )
    for row in rows:
        table.add_row(*(value for head, value in row.items() if head not in same))
    return [Text(f"{heading} ({all_of})" if all_of else heading, "bold"), table]


def _point(point: PointRow) -> dict[str, str]:
    turns = point.measures.get("turns")
    return {
        "": str(point.order + 1),
        "block": str(point.block),
        "arm": point.arm,
        "task": point.task,
        "ended": f"{point.exit_status}: does not count" if point.excluded else point.exit_status,
        "score": UNKNOWN if point.score is None else f"{point.score:.2f}",
        "took": seconds(point.time_s) + ("*" if point.doubts else ""),
        "prefill": seconds(point.measures.get("prefill_s")),
        "turns": UNKNOWN if turns is None else f"{turns:.0f}",
    }


def _width(names: list[str]) -> int:
    return min(NAME_WIDTH, max(map(len, names)))
