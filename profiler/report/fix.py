"""Show a fix: what the levers saved of what was predicted, side by side, what remains, and what was not tried.

Document in, text out; formatting happens only here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from profiler.fix_document import FixDocument, LeverRow, Measured, Predicted
from profiler.report.figures import UNKNOWN, count, seconds, share
from profiler.report.json_document import print_json

SHOWN_REMAINING = 3
_HOW = {"charge": "", "simulation": " (simulated)", "upper_bound": " (at most)"}


def print_fix(document: FixDocument, runs: Path, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the report, or the document as one JSON object; `runs` is the folder of the runs that it names."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    Console(file=stream, highlight=False, soft_wrap=False).print(render_fix(document, runs))


def render_fix(document: FixDocument, runs: Path) -> RenderableType:
    """The report as something rich can print."""
    chosen = [row for row in document.levers if row.chosen]
    parts: list[RenderableType] = [Text(), _verdict(document, chosen), Text()]
    if chosen:
        parts += [_table(document, chosen), Text()]
        parts += [line for row in chosen for line in _about(row)]
    parts += [_untried(row) for row in document.levers if not row.chosen]
    for advice in document.untestable:
        what = f" {advice.text}" if advice.text else ""
        lost = seconds(advice.lost_s) if advice.lost_s is not None else f"{count(advice.tokens)} tokens"
        parts.append(Text(f"{advice.code} ({advice.title}, {lost}): dyno can set nothing against it.{what}"))
    parts += [Text(f"* {guard.text}", style="yellow") for guard in document.doubts]
    parts += [Text(f"! {note}", style="yellow") for note in document.notes]
    parts.append(Text(_where(document, runs), style="dim"))
    return Group(*parts)


def _verdict(document: FixDocument, chosen: list[LeverRow]) -> Text:
    what = "the lever" if len(chosen) == 1 else f"the {len(chosen)} levers"
    if not chosen:
        lost = document.untestable or document.levers
        words = (
            "no lever that dyno can set is worth trying" if lost else "no loss was found, so there is nothing to fix"
        )
        return Text.assemble(("NOTHING TO SET", "bold"), f"  {words}")
    if not document.applied:
        known = [row.predicted.s for row in chosen if row.predicted.s is not None]
        tokens = f"{count(sum(row.predicted.tokens for row in chosen))} tokens"
        saves = f"{seconds(sum(known))} of prefill, {tokens}" if len(known) == len(chosen) else tokens
        return Text.assemble(("PREDICTED", "bold yellow"), f"  {what} would save {saves}: --apply measures it")
    total = document.total
    if total is None:
        return Text.assemble(("NOT MEASURED", "bold yellow"), f"  {what} could not be compared with anything")
    if not _helped(total):
        return Text.assemble(("NO HELP", "bold red"), f"  {what} saved nothing: {_of_predicted(total)}")
    return Text.assemble(("SAVED", "bold green"), f"  {what} saved {_of_predicted(total)}")


def _of_predicted(measured: Measured) -> str:
    tokens = f"{count(measured.saved_tokens)} of {count(measured.predicted_tokens)} tokens"
    if measured.saved_s is None:
        return f"{tokens} predicted"
    predicted = f" of {_time(measured.predicted_s)} predicted" if measured.predicted_s is not None else ""
    mark = "*" if measured.doubtful else ""
    return f"{_time(measured.saved_s)}{mark}{predicted}" + ("" if measured.saved_tokens is None else f", {tokens}")


def _helped(measured: Measured) -> bool:
    """Tokens decide, since they are exact; seconds where they are not known."""
    saved = measured.saved_s if measured.saved_tokens is None else measured.saved_tokens
    return saved is not None and saved > 0


def _table(document: FixDocument, chosen: list[LeverRow]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    table.add_column("", no_wrap=True, vertical="top")
    table.add_column("lever", overflow="fold", ratio=1)
    heads = ["predicted\ntokens", "saved\ntokens", "predicted", "saved", "of it"]
    for head in heads if document.applied else heads[::2][:2]:
        table.add_column(head, justify="right", no_wrap=True)
    for row in chosen:
        name = Text.assemble((", ".join(row.codes), "bold"), f" {row.text}")
        table.add_row(str(row.number), name, *_cells(row.predicted, row.measured, applied=document.applied))
    if document.applied and document.total is not None and len(chosen) > 1:
        table.add_row("", Text("together", style="bold"), *_beside("", document.total))
    return table


def _cells(predicted: Predicted, measured: Measured | None, *, applied: bool) -> list[str]:
    how = "≤ " if predicted.how == "upper_bound" else ""
    if measured is not None:
        return _beside(how, measured)
    tokens, times = how + count(predicted.tokens), how + _interval(predicted)
    return [tokens, UNKNOWN, times, UNKNOWN, UNKNOWN] if applied else [tokens, times]


def _beside(how: str, measured: Measured) -> list[str]:
    """Predicted and saved in turn: tokens, then seconds."""
    tokens = [how + count(measured.predicted_tokens), count(measured.saved_tokens)]
    mark = "*" if measured.doubtful else ""
    return [*tokens, how + _time(measured.predicted_s), _time(measured.saved_s) + mark, _ratio(measured)]


def _ratio(measured: Measured) -> str:
    """Of the predicted seconds, the share that was saved; of the tokens where no clock tells."""
    ratio = measured.ratio_s if measured.ratio_s is not None else measured.ratio_tokens
    return UNKNOWN if ratio is None else f"{ratio:.0%}".replace("%", " %")


def _interval(predicted: Predicted) -> str:
    if predicted.s is None or predicted.high_s is None or predicted.high_s - predicted.s < 0.05 * abs(predicted.s):
        return _time(predicted.s)
    return f"{_time(predicted.s)} ± {seconds(predicted.high_s - predicted.s)}"


def _time(value: float | None) -> str:
    return f"−{seconds(-value)}" if value is not None and value < 0 else seconds(value)


def _about(row: LeverRow) -> list[Text]:
    """What is to be known of one lever beside its figures."""
    lines = [Text(f"lever {row.number} {_set(row)}in {', '.join(row.sessions)}{_HOW[row.predicted.how]}. {row.also}")]
    loses = {name: -tokens for name, tokens in row.predicted.elsewhere.items() if tokens < 0}
    for name, tokens in loses.items():
        lines.append(
            Text(f"  predicted to lose {count(tokens)} tokens in {name}: --all-sessions measures that", "yellow")
        )
    measured = row.measured
    if measured is None:
        return lines
    if not _helped(measured):
        lines.append(Text("  It did not help.", "bold red"))
    if measured.failed:
        lines.append(Text(f"  {measured.failed} requests failed on one side and are not compared", "yellow"))
    if measured.doubtful:
        of = f"{measured.doubtful} of {measured.requests} requests"
        lines.append(Text(f"  * {of} were measured on a disturbed machine: their times are doubtful", "yellow"))
    left = [f"{c.code} {c.title} ({count(c.tokens)} tokens)" for c in measured.remaining[:SHOWN_REMAINING]]
    more = len(measured.remaining) - len(left)
    words = "; ".join(left) + (f"; and {more} more" if more else "") if left else "nothing"
    before, after = measured.before_tokens, measured.after_tokens
    evaluated = f"{_evaluated(before, after)}; " if before and after is not None else ""
    lines.append(Text(f"  {evaluated}what remains: {words}", "dim"))
    return lines


def _untried(row: LeverRow) -> Text:
    predicted = row.predicted
    would = f"{_time(predicted.s)}, " if predicted.s is not None else ""
    head = f"lever {row.number} {_set(row)}is not set: {row.reason}. "
    return Text(
        f"{head}{row.text} Predicted alone: {would}{count(predicted.tokens)} tokens{_HOW[predicted.how]}.", "dim"
    )


def _evaluated(before_tokens: int, after_tokens: int) -> str:
    of = share(after_tokens / before_tokens)
    return f"evaluated {count(before_tokens)} tokens before, {count(after_tokens)} after ({of})"


def _set(row: LeverRow) -> str:
    """What dyno sets, as it would be typed."""
    words = [f"{key}={value}" for key, value in row.options.items()]
    words += [f"{key}: {msgspec.json.encode(value).decode()}" for key, value in row.parameters.items()]
    words += [f"session rewritten: {row.rewrite}"] if row.rewrite else []
    return f"({', '.join(words)}) "


def _where(document: FixDocument, runs: Path) -> str:
    build = f" ({document.build})" if document.build else ""
    against = {
        "again": "against the unchanged sessions, replayed in turn",
        "stored": "against the stored run",
        None: "",
    }
    lines = [f"{document.engine}{build} · {document.target} · repeats run {document.run} {against[document.baseline]}"]
    for made in document.runs:
        what = f"with lever {' + '.join(map(str, made.levers))}" if made.levers else "as it was"
        lines.append(f"run {made.run}: {runs / made.run} · {what}")
    if document.status not in ("planned", "complete"):
        lines.append(f"[{document.status}: only what had finished is compared]")
    return "\n".join(line.rstrip() for line in lines)
