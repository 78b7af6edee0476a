"""Show a simulation: the setting that loses least, how far the model is to be trusted, a row per setting, the limit.

Document in, text out. Every cached figure here is a prediction, and is called one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from profiler.report.figures import count, seconds, share
from profiler.report.json_document import print_json
from profiler.simulate_document import Agreement, Outcome, RequestRow, Saving, SettingRow, SimulateDocument, WorkloadRow

__all__ = ["print_simulation", "render_simulation"]

SHOWN_SETTINGS = 24
SHOWN_ELSEWHERE = 4
SHOWN_LEFT_OUT = 6
WIDE_COLUMNS = 100
_VERDICTS: dict[Outcome, tuple[str, str]] = {
    "better": ("BETTER", "bold green"),
    "defaults_best": ("DEFAULTS ARE BEST", "bold green"),
    "no_difference": ("NO DIFFERENCE", "bold"),
    "unknown": ("CANNOT TELL", "bold yellow"),
}
_TOKENS = {
    "run": "the run's own tokens",
    "engine": "tokens by the engine of --model",
    "scripted": "approximate tokens",
}


def print_simulation(document: SimulateDocument, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the report, or the document as one JSON object."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    console = Console(file=stream, highlight=False, soft_wrap=False)
    console.print(render_simulation(document, console.width))


def render_simulation(document: SimulateDocument, width: int) -> RenderableType:
    """The report as something rich can print in `width` columns."""
    parts: list[RenderableType] = [Text(), _verdict(document), *map(Text, _savings(document))]
    parts += [_agreement(row.agreement, row) for row in document.workloads if row.agreement is not None]
    if document.settings:
        parts += [Text(), _table(document, width), Text(_legend(document), style="dim")]
    parts += [Text(line) for line in _left_out(document)]
    parts += _requests(document)
    parts += [Text(f"! {note}", style="yellow") for note in document.notes]
    if not document.complete:
        parts.append(Text("! interrupted: only the settings that were done are shown", style="yellow"))
    parts.append(Text("\n".join(map(_workload, document.workloads)), style="dim"))
    return Group(*parts)


def _verdict(document: SimulateDocument) -> Text:
    return Text.assemble(_VERDICTS[document.verdict.outcome], f"  {document.verdict.reason}")


def _savings(document: SimulateDocument) -> Iterator[str]:
    verdict = document.verdict
    best = document.settings[0] if document.settings else None
    both = any(row.is_default and row.is_own for row in document.settings)
    if verdict.outcome == "better" and verdict.against_defaults is not None:
        which = "its defaults, the run's own setting" if both else "its defaults"
        yield f"against {which}: {_saving(verdict.against_defaults)}"
    if verdict.against_own is not None and best is not None and not best.is_own and not both:
        yield f"against the run's own setting: {_saving(verdict.against_own)}"
    for one in verdict.elsewhere[:SHOWN_ELSEWHERE]:
        better = _named(one.engine, one.options, document)
        yield f"but in {one.session}, {better} evaluates {count(one.tokens)} fewer: no setting is best in every session"
    if len(verdict.elsewhere) > SHOWN_ELSEWHERE:
        yield f"and in {len(verdict.elsewhere) - SHOWN_ELSEWHERE} more sessions (--json lists all)"


def _saving(saved: Saving) -> str:
    if not saved.tokens:
        return "nothing"
    part = f" ({share(abs(saved.share))} of what it evaluates)" if saved.share is not None else ""
    what = f"{count(abs(saved.tokens))} tokens{part}"
    if saved.s is not None and saved.low_s is not None and saved.high_s is not None:
        half = max(saved.high_s - saved.s, saved.s - saved.low_s)
        close = half < 0.05 * abs(saved.s)
        what = f"{seconds(abs(saved.s))}{'' if close else f' ± {seconds(half)}'} of prefill, {what}"
    return f"saves {what}" if saved.tokens > 0 else f"costs {what}"


def _agreement(agreement: Agreement, row: WorkloadRow) -> Text:
    if agreement.share is None:
        return Text(f"not compared with the run {row.name}: {agreement.reason}", style="yellow")
    within = f"within {agreement.granularity_tokens} tokens" if agreement.granularity_tokens > 1 else "within a token"
    line = (
        f"checked against the run {row.name}: {agreement.agreeing} of {agreement.compared} requests predicted {within} "
        f"({share(agreement.share)}; {agreement.exact} exactly)"
    )
    unknown = f"; of {agreement.unknown} more one side is not known" if agreement.unknown else ""
    text = Text(line + unknown, style="green" if agreement.agreeing == agreement.compared else "yellow")
    for one in agreement.differing:
        text.append(
            f"\n  request {one.request_id}: predicted {count(one.predicted_tokens)}, "
            f"measured {count(one.measured_tokens)} ({one.why})"
        )
    return text


def _table(document: SimulateDocument, width: int) -> Table:
    wide = width >= WIDE_COLUMNS
    priced = document.priced_by is not None
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("setting", overflow="fold")
    heads = (
        ["to evaluate", "saved", "reused", "full"] + (["hit", "part"] if wide else []) + (["prefill"] if priced else [])
    )
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    ranks = [row.rank for row in document.settings]
    for row in _rows(document):
        tie = "=" if ranks.count(row.rank) > 1 else ""
        table.add_row(f"{tie}{row.rank}", _setting(row, document), *_cells(row, wide=wide, priced=priced))
    limit, blank = document.limit, [""] * (2 if wide else 0)
    prefill = [seconds(limit.prefill_s)] if priced else []
    table.add_row(
        "",
        Text("a cache that forgets nothing", style="dim"),
        count(limit.evaluated_tokens),
        "",
        share(1.0),
        "",
        *blank,
        *prefill,
    )
    return table


def _rows(document: SimulateDocument) -> Iterator[SettingRow]:
    """The best settings, and wherever they rank the defaults and a run's own."""
    for number, row in enumerate(document.settings):
        if number < SHOWN_SETTINGS or row.is_default or row.is_own:
            yield row


def _cells(row: SettingRow, *, wide: bool, priced: bool) -> list[str]:
    saved = "" if row.saved is None or row.is_default else f"{row.saved.tokens:+,}".replace("-", "−")
    cells = [count(row.evaluated_tokens), saved, share(row.reused_share), str(row.full_misses)]
    return [*cells, *([str(row.hits), str(row.partial)] if wide else []), *([seconds(row.prefill_s)] if priced else [])]


def _setting(row: SettingRow, document: SimulateDocument) -> Text:
    marks = [word for word, there in (("defaults", row.is_default), ("the run's own", row.is_own)) if there]
    name = _named(row.engine, row.options, document)
    extra = [mark for mark in marks if mark not in name.split()]
    style = "bold" if row.rank == 1 else ""
    return Text.assemble((name, style), (f"  ({', '.join(extra)})" if extra else "", "cyan"))


def _named(engine: str, options: Mapping[str, str], document: SimulateDocument) -> str:
    engines = {row.engine for row in document.settings} | {row.engine for row in document.left_out}
    named = " ".join(f"{key}={value}" for key, value in options.items()) or "defaults"
    return f"{engine} {named}" if len(engines) > 1 else named


def _legend(document: SimulateDocument) -> str:
    more = len(document.settings) - len(list(_rows(document)))
    hidden = f"{more} more settings are in --json · " if more > 0 else ""
    price = f" · prefill: by the times of the run {document.priced_by}" if document.priced_by else ""
    return (
        f"{hidden}to evaluate: predicted prompt tokens that are not reused · saved: against the engine's defaults · "
        f"reused: of what a cache that forgets nothing would reuse · full: full misses, of continuations{price}"
    )


def _left_out(document: SimulateDocument) -> Iterator[str]:
    for one in document.left_out[:SHOWN_LEFT_OUT]:
        yield f"left out: {_named(one.engine, one.options, document)}: {one.reason}"
    if len(document.left_out) > SHOWN_LEFT_OUT:
        yield f"left out: {len(document.left_out) - SHOWN_LEFT_OUT} more settings (--json lists all)"


def _requests(document: SimulateDocument) -> Iterator[RenderableType]:
    """The requests of each listed setting, under its name."""
    groups = groupby(document.requests, key=lambda row: _named(row.engine, row.options, document))
    for name, rows in groups:
        yield Text(f"\n{name}", style="bold")
        yield _request_table(list(rows))


def _request_table(rows: Sequence[RequestRow]) -> Table:
    measured = any(row.measured_tokens is not None for row in rows)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    table.add_column("request", overflow="fold")
    for head in ("prompt", "reusable", "reused", *(["in the run"] if measured else []), "slot"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for row in rows:
        table.add_row(
            Text(f"{row.session}/{row.conversation} {row.turn + 1}"),
            count(row.prompt_tokens),
            count(row.reusable_tokens),
            count(row.cached_tokens),
            *([count(row.measured_tokens)] if measured else []),
            "" if row.slot is None else str(row.slot),
            Text(row.why),
        )
    return table


def _workload(row: WorkloadRow) -> str:
    what = f"run {row.name}" if row.kind == "run" else f"sessions {row.name}"
    return (
        f"simulated, no engine served this · {what}: {row.requests} requests, {count(row.prompt_tokens)} prompt "
        f"tokens, longest {count(row.longest_prompt_tokens)} · {_TOKENS[row.tokens]}"
    )
