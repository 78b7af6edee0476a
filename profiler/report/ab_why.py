"""Why the arms of an experiment differ: where the time went, every metric, guards and order. Document in, text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from profiler.ab_document import AbDocument, ComparisonRow, GuardRow, MetricRow, PartRow
from profiler.report.figures import UNKNOWN, seconds

__all__ = ["metric_cells", "of_parts", "part_cells", "several", "why"]

_PARTS = {
    "whole": "whole dispatch",
    "engine": "engine (prefill and decode together)",
    "prefill": "prefill of new text",
    "decode": "decode",
    "tools": "tools",
    "rest": "the harness itself",
}
SCRIPTED = ("success", "score")
"""Metrics that a script decides in a rehearsal."""
TELLING = 4.0
"""An interval of the order's effect whose upper bound is so many times the lower one tells nothing of it."""
ORDERS = {
    "second by first": ("the second dispatch of a pair", "of the first one"),
    "line over the order": ("a dispatch at the end", "of one at the beginning"),
}


def why(document: AbDocument, row: ComparisonRow) -> list[RenderableType]:
    """All that is told of one comparison beside its verdict."""
    lines = of_parts(row)
    scripted = _scripted(document, row)
    lines += _metrics(row, scripted, floor=document.kind == "aa")
    caches = [arm.cache for arm in document.arms if arm.cache is not None]
    if any(0 < sum(cache.lost_by_cause_tokens.values()) < (cache.lost_tokens or 0) for cache in caches):
        lines.append(Text("lost_tokens also counts text that was taken out: no cause is charged with that", "dim"))
    lines += [Text("success is scripted in a rehearsal: nothing is told of it", "dim")] if scripted else []
    guards = [guard for guard in row.guards if guard.metric.metric not in scripted]
    lines += [Text(f"guard: {_guard(guard)}", "dim") for guard in guards if document.kind == "ab"]
    lines += _order(row)
    if row.modes:
        slow = "; ".join(f"{mode.arm} {mode.slow} of {mode.dispatches}" for mode in row.modes)
        lines.append(Text(f"the times fall into two groups; in the slow one: {slow}", "yellow"))
    untold = sum(metric.low is None and metric.high is None for metric in row.metrics)
    if untold:
        has = "metrics have" if untold > 1 else "metric has"
        lines.append(Text(f"{untold} more {has} no interval here: --json says why", "dim"))
    if row.power is not None and document.kind == "ab" and row.word == "cannot tell":
        chance = f"{row.power:.0%}".replace("%", " %")
        lines.append(
            Text(f"the chance to find an effect as large as the margin of {row.margin:g} was {chance} here", "dim")
        )
    return lines


def of_parts(row: ComparisonRow) -> list[RenderableType]:
    """Where the difference of the times lies, and of how many pairs that is the mean."""
    if not row.parts:
        return []
    rests = f"{several(row.parts[0].tasks, 'task')} ({several(row.parts[0].pairs, 'pair')})"
    return [_parts(row.parts), Text(f"seconds a dispatch, mean over {rests}; intervals of 95 %", "dim")]


def several(number: int, what: str) -> str:
    """A number of things: `1 pair`, `6 pairs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def metric_cells(row: MetricRow) -> list[str]:
    """Metric, value, interval, p, pairs and tasks: no figure without its interval."""
    counts = [str(row.pairs), str(row.tasks)]
    if row.confidence is None or row.value is None:
        return [row.metric, "not told", "", _p(row.p), *counts]
    interval = f"{_interval(row)} ({_percent(row.confidence)})"
    return [row.metric, _figure(row, row.value), interval, _p(row.p), *counts]


def part_cells(part: PartRow) -> list[str]:
    """A part of the time: its name, both arms, their difference and its interval."""
    name = f"prefill lost to {part.code} {part.title}" if part.code else _PARTS.get(part.part, part.part)
    known = part.low_s is not None and part.high_s is not None
    interval = f"{_signed(part.low_s)} … {_signed(part.high_s)}" if known else UNKNOWN
    return [name, seconds(part.baseline_s), seconds(part.treatment_s), _signed(part.difference_s), interval]


def _scripted(document: AbDocument, row: ComparisonRow) -> tuple[str, ...]:
    """What a rehearsal's script decided and so tells nothing; a guard that broke is told all the same."""
    broken = {guard.metric.metric for guard in row.guards if guard.state == "broken"}
    return tuple(name for name in SCRIPTED if document.fidelity == "rehearse" and name not in broken)


def _parts(parts: Sequence[PartRow]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("where the time went", overflow="fold")
    for head in ("baseline", "treatment", "difference", "interval"):
        table.add_column(head, justify="right", no_wrap=True)
    for part in parts:
        table.add_row(*part_cells(part), style="bold" if part.part == "whole" else None)
    return table


def _signed(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if abs(value) < 0.001:
        return seconds(abs(value))
    return f"−{seconds(-value)}" if value < 0 else f"+{seconds(value)}"


def _metrics(row: ComparisonRow, scripted: Sequence[str], *, floor: bool) -> list[RenderableType]:
    """The metrics; of an arm against itself, what each would show at all instead of what it was declared for."""
    guards = {guard.metric.metric for guard in row.guards}
    told = [one for one in row.metrics if one.low is not None or one.high is not None]
    rows = [one for one in (*(guard.metric for guard in row.guards), *told) if one.metric not in scripted]
    same = [one.metric for one in rows if _is_same(one)]
    rows = [row.primary, *(one for one in rows if one.metric not in same)]
    usual = Counter((one.pairs, one.tasks) for one in rows).most_common(1)[0][0]
    confidence = Counter(one.confidence for one in rows if one.confidence).most_common(1)
    of_all = confidence[0][0] if confidence else None
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in ("metric", "change", "interval", "p", "shows from" if floor else ""):
        table.add_column(head, justify="left" if head in ("metric", "") else "right", overflow="fold")
    for one in rows:
        name, value, _, p, *_ = metric_cells(one)
        other = [] if one.confidence in (None, of_all) else [_percent(one.confidence)]
        other += [] if (one.pairs, one.tasks) == usual or value == "not told" else [several(one.pairs, "pair")]
        interval = _interval(one) + (f" ({', '.join(other)})" if other else "") if value != "not told" else ""
        role = _found(one) if floor else _primary(row) if one is row.primary else "guard" if name in guards else ""
        table.add_row(name, value, interval, p, role, style="bold" if one is row.primary else None)
    rests = f"{several(usual[0], 'pair')} of {several(usual[1], 'task')}"
    rests += f"; intervals of {_percent(of_all)} unless another is named" if of_all else ""
    lines: list[RenderableType] = [Text(), table, Text(rests, "dim")]
    if any(one is not row.primary and one.metric not in guards for one in rows) and not floor:
        lines.append(Text("what is neither primary nor guard was not declared: one in twenty differs by chance", "dim"))
    lines += [Text(f"the same in both: {', '.join(same)}", "dim")] if same else []
    return lines


def _is_same(row: MetricRow) -> bool:
    return row.value == row.low == row.high == (1.0 if row.scale == "ratio" else 0.0)


def _primary(row: ComparisonRow) -> str:
    return "primary" if row.sequential is None else "does not decide"


def _guard(guard: GuardRow) -> str:
    allowed = f"{guard.metric.metric} may get worse by {guard.margin:g}: {guard.state}"
    if guard.state != "not shown":
        return allowed
    needed = f"about {guard.pairs_needed} pairs would" if guard.pairs_needed else "no plan of a sensible size would"
    return f"{allowed} with {several(guard.metric.pairs, 'pair')}, {needed}"


def _order(row: ComparisonRow) -> list[RenderableType]:
    """Whether it mattered which dispatch came first: said only where it did, or where that cannot be told."""
    lines: list[RenderableType] = []
    untold: list[str] = []
    for one in row.order:
        later, of_earlier = ORDERS.get(one.method, (one.method, ""))
        if one.scale != "ratio" or one.low is None or one.high is None or one.high > TELLING * one.low:
            untold.append(later)
        elif one.low > 1 or one.high < 1:
            took = f"{later} took {_figure(one, one.value)} [{_interval(one)}] {of_earlier}"
            lines.append(Text(f"order: {took}: more noise than there should be, though it favours no arm", "yellow"))
    if untold:
        slower = f"whether {' or '.join(untold)} is slower cannot be told"
        lines.append(Text(f"order: {slower} from {several(row.primary.pairs, 'pair')}", "dim"))
    return lines


def _found(row: MetricRow) -> str:
    """The smallest change that shows in four of five experiments of this size."""
    return _figure(row, row.detectable)


def _interval(row: MetricRow) -> str:
    return f"{_figure(row, row.low) or 'no bound'} … {_figure(row, row.high) or 'no bound'}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.4g} %"


def _figure(row: MetricRow, value: float | None) -> str:
    if value is None:
        return ""
    digits = ",.0f" if abs(value) >= 1000 else ".3f" if 0 < abs(value) < 0.001 else ".3g"
    return f"× {value:{digits}}" if row.scale == "ratio" else f"{value:+{digits}}".replace("-", "−")


def _p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.2g}"
