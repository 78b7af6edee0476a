"""Show a dispatch: what it was worth, where its time went, what it lost to which cause, turn by turn. Formats only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from profiler.dispatch_document import CallRow, DispatchDocument, TurnRow
from profiler.report.figures import UNKNOWN, count, rate, seconds, share
from profiler.report.json_document import print_json

__all__ = ["print_dispatch", "render_dispatch", "turn_cells", "verdict_line", "what_line"]

SHOWN_TURNS = 24
SHOWN_CAUSES = 5
_EXITS = {
    "submitted": "submitted its work",
    "stopped": "stopped by itself",
    "limit_turns": "reached the limit of turns",
    "limit_tokens": "reached the limit of tokens",
    "limit_wall": "ran out of time",
    "stuck": "was stopped in a loop",
    "format_errors": "could not form its tool calls",
    "context_overflow": "outgrew the context",
    "infra_fault": "was ended by a fault of the engine or the machine: its outcome does not count",
    "aborted": "was interrupted",
}
_KINDS = {
    "dispatch": "real dispatch",
    "rehearse": "rehearsal: the scripted replies are forced on the real engine",
    "simulate": "simulation",
    "no_engine": "no engine: a scripted agent",
}
TURN_HEADS = ("turn", "prompt", "cached", "cache", "lost to", "TTFT", "tok/s", "tools", "took")
WORD_HEADS = frozenset({"cache", "lost to", "tools"})
"""Columns of words, which stand at the left; the others are figures."""


def print_dispatch(document: DispatchDocument, folder: Path, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the report, or the document as one JSON object; `folder` holds the dispatch's texts."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    Console(file=stream, highlight=False, soft_wrap=False).print(render_dispatch(document, folder))


def render_dispatch(document: DispatchDocument, folder: Path) -> RenderableType:
    """The report as something rich can print."""
    parts: list[RenderableType] = [Text(), verdict_line(document), what_line(document), Text(), _time(document)]
    if document.causes:
        parts += [Text(), *_causes(document)]
    if document.turns:
        parts += [Text(), _turns(document)]
    if document.detections:
        parts += [Text(), *_detections(document)]
    if document.outcome is not None:
        parts += [Text(f"  {note}", style="dim") for note in document.outcome.notes]
    parts += [Text(f"* {guard.text}", style="yellow") for guard in document.doubts]
    parts += [Text(f"! {note}", style="yellow") for note in document.notes]
    parts += [Text(), Text(_where(document, folder), style="dim")]
    return Group(*parts)


def verdict_line(document: DispatchDocument) -> Text:
    """The outcome: a word, then how the agent ended."""
    started, outcome = document.started, document.outcome
    if outcome is None or document.exit_status is None:
        done = f"{len(document.turns)} turns are stored"
        return Text.assemble(("KILLED", "bold red"), f"  {started.task}: no outcome; {done}")
    how = _EXITS[document.exit_status]
    took = seconds(document.totals.wall_ns / 1e9)
    if not outcome.valid:
        return Text.assemble(("NOT SCORED", "bold yellow"), f"  {started.task}: the verifier failed; the agent {how}")
    style = {"pass": "bold green", "partial": "bold yellow", "fail": "bold red", "not_run": "bold yellow"}
    word = "NOT VERIFIED" if outcome.verified == "not_run" else outcome.verified.upper()
    score = f"  score {outcome.score:.2f}" if outcome.score is not None else ""
    return Text.assemble((word, style[outcome.verified]), f"{score}  {started.task}: the agent {how} after {took}")


def what_line(document: DispatchDocument) -> Text:
    """What ran: how real, by which agent, under which setting, on which target."""
    started = document.started
    target = f" on {started.target}" if started.target else ""
    return Text(f"{_KINDS[started.fidelity]} · agent {started.agent} · setting {started.setting}{target}", style="dim")


def _time(document: DispatchDocument) -> Table:
    """Where the wall time went; prefill and decode by the engine's own times."""
    totals = document.totals
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    table.add_column("where the time went", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("of all", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    lost = f"{seconds(_s(totals.lost_ns))} of it again, for {count(totals.lost_tokens)} tokens that a cache had held"
    rows = [
        ("prefill", totals.prefill_ns, f"{count(totals.evaluated_tokens)} tokens; {lost}" if totals.requests else ""),
        ("decode", totals.decode_ns, f"{count(totals.generated_tokens)} tokens"),
        ("tools", totals.tool_ns, f"{totals.calls} calls"),
        ("harness and the rest", totals.overhead_ns, ""),
    ]
    for name, value, detail in rows if totals.requests else rows[2:]:
        part = value / totals.wall_ns if value is not None and totals.wall_ns else None
        table.add_row(name, seconds(_s(value)), share(part), Text(detail, style="dim"))
    peak = totals.peak_memory_bytes
    memory = f"; memory peak {peak / 2**20:,.0f} MiB" if peak is not None else ""
    table.add_row("all", seconds(_s(totals.wall_ns)), "", Text(f"{totals.turns} turns{memory}", style="dim"))
    return table


def _causes(document: DispatchDocument) -> list[RenderableType]:
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for head, right in (("", False), ("lost again, by cause", False), ("side", False), ("requests", True)):
        table.add_column(head, justify="right" if right else "left", overflow="fold")
    table.add_column("tokens", justify="right")
    table.add_column("time", justify="right")
    for row in document.causes[:SHOWN_CAUSES]:
        table.add_row(row.code, row.title, row.side, str(row.requests), count(row.tokens), seconds(row.s))
    left = len(document.causes) - SHOWN_CAUSES
    return [table] if left <= 0 else [table, Text(f"and {left} further causes: dyno explain shows them", style="dim")]


def _turns(document: DispatchDocument) -> Table:
    rows = [turn_cells(row) for row in document.turns]
    # Without an engine most columns are empty.
    used = [at for at in range(len(TURN_HEADS)) if any(cells[at] for cells in rows)]
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for at in used:
        table.add_column(TURN_HEADS[at], justify="left" if TURN_HEADS[at] in WORD_HEADS else "right", overflow="fold")
    half = SHOWN_TURNS // 2
    long = len(rows) > SHOWN_TURNS
    for cells in rows[:half] if long else rows:
        table.add_row(*(cells[at] for at in used))
    if long:
        table.add_row("…", *("" for _ in used[1:]))
        for cells in rows[-half:]:
            table.add_row(*(cells[at] for at in used))
    return table


def turn_cells(row: TurnRow) -> tuple[str, ...]:
    """A turn as one line of the table under `TURN_HEADS`."""
    asked = row.cache_class is not None
    return (
        str(row.turn + 1),
        count(row.prompt_tokens) if asked else "",
        count(row.cached_tokens) if asked else "",
        (row.cache_class or "").replace("_", " "),
        ", ".join(row.causes) + (f" ({count(row.lost_tokens)})" if row.lost_tokens else ""),
        seconds(row.ttft_s) if asked else "",
        rate(row.decode_tokens_per_s) if asked else "",
        _did(row),
        seconds(row.s),
    )


def _did(row: TurnRow) -> str:
    if row.error is not None:
        return f"{row.error.kind}: {row.error.message}"
    done = ", ".join(map(_called, row.calls)) or "no call"
    return f"{done} [{'; '.join(row.events)}]" if row.events else done


def _called(call: CallRow) -> str:
    mark = "" if call.ok else f"! {call.fault.replace('_', ' ')}" if call.fault else "!"
    return f"{call.name or UNKNOWN}{mark}"


def _detections(document: DispatchDocument) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for found in document.detections:
        where = f" (turn {found.turn + 1})" if found.turn is not None else ""
        sure = "" if found.certain else ", heuristic"
        times = f" ×{found.count}" if found.count > 1 else ""
        text = (f"{found.code}{times}", "bold"), f"{where}{sure}: {found.evidence}"
        lines.append(Text.assemble(*text))
    return lines


def _where(document: DispatchDocument, folder: Path) -> str:
    again = "" if not document.started.target else f" · dyno explain {document.run_id}"
    return f"run {document.run_id} · transcript and workspace: {folder}{again}"


def _s(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / 1e9
