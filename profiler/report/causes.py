"""Show an explanation: what was lost and how much of it is explained, seconds by cause, the worst requests, the fixes.

Document in, text out. What models and agents wrote is hostile text: it is shown as it is, without markup, and control
characters are made visible.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from profiler.causes.base import Proof
from profiler.explanation import CauseRow, ExplainDocument, Fix, LossPart, LossRow
from profiler.report.figures import count, seconds, share
from profiler.report.json_document import print_json

SHOWN_FIXES = 6
SHOWN_PROOFS = 3
WIDE_COLUMNS = 100
_FIRST_WORD = re.compile(r"\s*\w+|\s*\S", re.ASCII)


def print_explanation(document: ExplainDocument, path: Path, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the explanation, or the document as one JSON object."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    console = Console(file=stream, highlight=False, soft_wrap=False)
    console.print(render_explanation(document, path, console.width))


def render_explanation(document: ExplainDocument, path: Path, width: int) -> RenderableType:
    """The explanation as something rich can print in `width` columns."""
    parts: list[RenderableType] = [Text(), verdict_line(document)]
    if document.causes:
        parts += [Text(), _causes(document.causes, width), Text()]
        for row in document.worst:
            parts += [_loss(row), Text()]
    if document.fixes:
        parts += [Text("what to change, most seconds first", style="bold"), *map(_fix, document.fixes[:SHOWN_FIXES])]
    parts += [Text(f"note: {note}", style="yellow") for note in document.notes]
    parts.append(Text(_where(document, path), style="dim"))
    return Group(*parts)


def verdict_line(document: ExplainDocument) -> Text:
    """What was lost and how much of it is explained: a few words, then the sentence."""
    if not document.losing_requests:
        return Text.assemble(
            ("NOTHING LOST", "bold green"), f"  none of {document.requests} requests evaluated anything again"
        )
    what = f"{count(document.lost_tokens)} tokens"
    if document.lost_s is not None:
        what = f"{_interval(document.lost_s, document.low_s, document.high_s)} of prefill, {what}"
    top = document.causes[0]
    explained = document.explained_share
    return Text.assemble(
        (f"LOST {what}", "bold red"),
        f"  in {document.losing_requests} of {document.requests} requests; {share(explained)} of it explained.\n",
        f"Most of it: {top.title}.",
    )


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None or value == 0:
        return seconds(value)
    half = max(high - value, value - low)
    return f"{seconds(value)} ± {seconds(half)}" if half >= 0.05 * value else seconds(value)


def _causes(rows: tuple[CauseRow, ...], width: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("cause", overflow="fold")
    table.add_column("side", no_wrap=True)
    table.add_column("requests", justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("lost", justify="right", no_wrap=True)
    if width >= WIDE_COLUMNS:
        table.add_column("how sure", no_wrap=True)
    for row in rows:
        cells = [
            Text(row.code, style="bold"),
            Text(row.title),
            Text(row.side),
            Text(str(row.requests)),
            Text(count(row.tokens)),
            Text(_interval(row.lost_s, row.low_s, row.high_s)),
        ]
        sure = ", ".join(f"{number} {name}" for name, number in row.confidence.items())
        table.add_row(*cells, *([Text(sure, style="dim")] if width >= WIDE_COLUMNS else []))
    return table


def _loss(row: LossRow) -> RenderableType:
    lost = f"{count(row.tokens)} tokens" + (f", {seconds(row.lost_s)}" if row.lost_s is not None else "")
    repeat = f", repeat {row.repeat}" if row.repeat else ""
    head = Text.assemble(
        (f"request {row.request_id}", "bold"),
        f"  {row.session}/{row.conversation}, turn {row.turn + 1}{repeat}: {lost} again ",
        (f"({count(row.cached_tokens)} of {count(row.prompt_tokens)} tokens were cached)", "dim"),
    )
    parts = [Padding(_part(part), (0, 0, 0, 2)) for part in row.causes]
    if not row.alike:
        return Group(head, *parts)
    more = f"  and {row.alike} more like it" + (f", {seconds(row.alike_s)}" if row.alike_s is not None else "")
    return Group(head, *parts, Text(more, style="dim"))


def _part(part: LossPart) -> RenderableType:
    unsure = "" if part.confidence == "observed" else f" ({part.confidence})"
    line = Text.assemble((part.code, "bold"), f" {part.text}{unsure}")
    proofs = part.proofs[:SHOWN_PROOFS]
    return Group(line, *(Padding(_proof(proof), (0, 0, 0, 3)) for proof in proofs))


def _proof(proof: Proof) -> RenderableType:
    if proof.kind != "difference":
        return Text(f"{proof.kind}: {visible(proof.text)}", style="dim")
    lead = visible(proof.text[-40:])
    where = Text(proof.path or "", style="dim")
    before = Text.assemble(("- ", "red"), (lead, "dim"), *_marked(proof.old or "", "red"))
    after = Text.assemble(("+ ", "green"), (lead, "dim"), *_marked(proof.new or "", "green"))
    return Group(where, before, after)


def _marked(text: str, colour: str) -> list[tuple[str, str]]:
    """A side of a difference, its first word set off: there the texts part."""
    first, rest = parted(text)
    return [(visible(first), f"bold reverse {colour}"), (visible(rest), colour)]


def parted(text: str) -> tuple[str, str]:
    """The first word of a side of a difference, and what follows."""
    first = _FIRST_WORD.match(text)
    end = first.end() if first is not None else 0
    return text[:end], text[end:]


def visible(text: str) -> str:
    """A text on one line: control characters as escapes, so that nothing reaches the terminal as a command."""
    return "".join(c if c.isprintable() else "⏎" if c == "\n" else repr(c)[1:-1] for c in text)


def _fix(fix: Fix) -> RenderableType:
    saves = seconds(fix.saves_s) if fix.saves_s is not None else f"{count(fix.saves_tokens)} tokens"
    head = Text.assemble(("• ", "bold"), f"{fix.text} ", (f"up to {saves} ({', '.join(fix.codes)})", "bold"))
    also = Text(f"  {fix.also}" + ("  dyno fix can try it." if fix.testable else ""), style="dim")
    return Group(head, also)


def _where(document: ExplainDocument, path: Path) -> str:
    build = f" ({document.build})" if document.build else ""
    clock = {"engine": "the engine's own prefill times", "ttft": "times to the first token", None: "nothing"}
    priced = f"priced by {clock[document.priced_by]}, {document.priced_from_requests} requests"
    return f"{document.engine}{build} · {document.target} · {priced}\nrun {document.run}: {path}"
