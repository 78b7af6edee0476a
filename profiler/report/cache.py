"""Show a cache document: the verdict first, then a row per session, what to doubt, and where the details lie.

Records in, text out; the figures come from `profiler.summary`, formatting happens only here.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from profiler.document import CacheDocument, SessionRow
from profiler.report.figures import count, milliseconds, rate, seconds, share
from profiler.report.json_document import print_json
from profiler.report.memory import memory_lines
from profiler.report.server import server_lines, server_warnings
from profiler.summary import MIN_SAMPLES_P95

NARROW_COLUMNS = 100


def print_document(document: CacheDocument, path: Path, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the report, or the document as one JSON object."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    console = Console(file=stream, highlight=False, soft_wrap=False)
    console.print(render(document, path, console.width))


def render(document: CacheDocument, path: Path, width: int) -> RenderableType:
    """The report as something rich can print in `width` columns."""
    parts: list[RenderableType] = [Text(), verdict_line(document), losses_line(document)]
    parts += [Text(line) for line in memory_lines(document.residency)] + [Text()]
    if document.sessions:
        parts += [_table(document, width), Text(_legend(document), style="dim")]
    server = [Text(line, style="dim") for line in server_lines(document)]
    parts += [warning_lines(document), *server, Text(_where(document, path), style="dim")]
    return Group(*parts)


def verdict_line(document: CacheDocument) -> Text:
    """The verdict on the cache: a word, then the reason."""
    words = {True: ("STABLE", "bold green"), False: ("UNSTABLE", "bold red"), None: ("CANNOT TELL", "bold yellow")}
    return Text.assemble(words[document.verdict.stable], f"  {document.verdict.reason}")


def losses_line(document: CacheDocument) -> Text:
    """What a dispatch loses, on which side, and where most."""
    verdict = document.verdict
    if verdict.lost_s is None or verdict.lost_s_per_dispatch is None:
        return Text("seconds lost: not known")
    if verdict.lost_s == 0:
        return Text("no time was lost to the cache in the sessions judged")
    by_side = {"engine": verdict.lost_engine_side_s or 0.0, "prompt": verdict.lost_prompt_side_s or 0.0}
    side = max(by_side, key=lambda name: by_side[name])
    split = verdict.lost_engine_side_s is not None and verdict.lost_prompt_side_s is not None
    where = f"{by_side[side] / verdict.lost_s:.0%} on the {side} side" if split else "on which side is not known"
    judged = [row for row in document.sessions if row.name in verdict.judged_sessions]
    worst = max(judged, key=lambda row: row.lost_s or 0.0)
    return Text(
        f"a dispatch loses {seconds(verdict.lost_s_per_dispatch)} to prefill that a perfect cache would save: "
        f"{where}, most in {worst.name} ({seconds(worst.lost_s)}, "
        f"{share(worst.reuse_efficiency if split else worst.history_reused)} reused)"
    )


def _table(document: CacheDocument, width: int) -> Table:
    heads, rows = session_rows(document, wide=width >= NARROW_COLUMNS)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    table.add_column(heads[0], no_wrap=True, overflow="ellipsis", min_width=12)
    for head in heads[1:]:
        table.add_column(head, justify="right", no_wrap=True)
    for name, *figures in rows:
        table.add_row(escape(name), *figures)
    return table


def session_rows(document: CacheDocument, *, wide: bool = True) -> tuple[list[str], list[list[str]]]:
    """The heads of the table of sessions and its rows, of which the first cell is the session's name."""
    unknown = any(row.unknown for row in document.sessions)
    split = _is_split(document)
    heads = ["session", "n", "hit", "part", "full", *(["?"] if unknown else []), "reused"]
    heads += ["lost by\nprompt", "lost by\nengine"] if split else ["lost\ntokens"]
    heads += ["lost"] + (["prefill\ntok/s", "decode\ntok/s", "TTFT\nmedian", "TTFT\np95"] if wide else [])
    return heads, [_cells(row, wide=wide, unknown=unknown, split=split) for row in document.sessions]


def _is_split(document: CacheDocument) -> bool:
    """Whether the losses are known by side; if nothing is known of them, there is no difference."""
    rows = document.sessions
    by_side = any(row.lost_prompt_side_tokens is not None or row.lost_engine_side_tokens is not None for row in rows)
    return by_side or all(row.lost_tokens is None for row in rows)


def _cells(row: SessionRow, *, wide: bool, unknown: bool, split: bool) -> list[str]:
    mark = "*" if row.doubtful else ""
    cells = [
        row.name,
        str(row.continuations),
        str(row.hit),
        str(row.partial),
        str(row.full_miss),
        *([str(row.unknown)] if unknown else []),
        _reused(row),
        *([count(row.lost_prompt_side_tokens), count(row.lost_engine_side_tokens)] if split else []),
        *([] if split else [count(row.lost_tokens)]),
        seconds(row.lost_s) + mark,
    ]
    times = [rate(row.prefill_tokens_per_s), rate(row.decode_tokens_per_s)]
    times += [milliseconds(row.ttft_median_ns), milliseconds(row.ttft_p95_ns)]
    return [*cells, *(time + mark for time in times)] if wide else cells


def _reused(row: SessionRow) -> str:
    """What was reused: the share, or between which it lies."""
    low, high = row.history_reused_low, row.history_reused_high
    if row.history_reused is not None or low is None or high is None:
        return share(row.history_reused)
    return f"{math.floor(low * 100)}–{math.ceil(high * 100)} %"


def _legend(document: CacheDocument) -> str:
    forced = sum(row.forcing.get("token_ids", 0) for row in document.sessions)
    total = sum(row.requests for row in document.sessions)
    errors = sum(row.errors for row in document.sessions)
    how = f"{'all' if forced == total else f'{forced} of {total}'} replies forced token by token"
    failed = f"; {errors} requests failed" if errors else ""
    sides = "lost in tokens, by the side that lost them: prompt = its text changed, engine = same text, not reused"
    if not _is_split(document):
        sides = "lost in tokens: of the conversation so far; by which side is not known, the prompts are not shown"
    return (
        "n continuations (later requests) · reused: share of the conversation so far that was not evaluated again · "
        f"{sides} · "
        f"p95 from {MIN_SAMPLES_P95} samples on · {how}{failed}"
    )


def warning_lines(document: CacheDocument) -> Text:
    """What to doubt and what failed, a line each; empty where nothing is."""
    lines: list[str] = []
    doubtful = sum(row.doubtful for row in document.sessions)
    if doubtful:
        codes = sorted({code for r in document.requests for code in r.guards})
        why = f"on a disturbed machine ({', '.join(codes)})"
        lines.append(f"* {doubtful} requests were measured {why}: their times are doubtful")
    lines += [f"* {guard.text}" for guard in document.doubts]
    lines += [f"! {note}" for note in document.notes]
    lines += server_warnings(document.probe)
    # Where prompts are not shown, what a first request found may be this run's own.
    firsts = [r for r in document.requests if r.turn == 0 and r.lcp_tokens is not None]
    warm = sum(r.cache_class == "unknown" and bool(r.cached_tokens) for r in firsts)
    if warm:
        lines.append(f"! {warm} sessions found a cache from before this run: --cold starts them cold")
    failed = [r for r in document.requests if r.error]
    lines += [f"! {r.session} turn {r.turn + 1}: {r.error}" for r in failed[:3]]
    if len(failed) > 3:
        lines.append(f"! and {len(failed) - 3} more failed requests (--json lists all)")
    return Text("\n".join(lines), style="yellow") if lines else Text()


def _where(document: CacheDocument, path: Path) -> str:
    build = f" ({document.engine.build})" if document.engine.build else ""
    state = "" if document.status == "complete" else f"  [{document.status}: only what had finished is shown]"
    again = f"dyno explain {document.run}"
    return f"{document.engine.name}{build} · {document.target}\nrun {document.run}: {path}{state} · {again}"
