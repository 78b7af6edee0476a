"""Show the outcome of a check: passed or not, each threshold beside what was measured, and the causes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from profiler.check import CheckDocument, Result
from profiler.report.figures import seconds, share
from profiler.report.json_document import print_json

SHOWN_CAUSES = 5
_NAMES = {
    "full_miss_rate": ("full misses", "at most"),
    "reuse_efficiency": ("reused of what was reusable", "at least"),
    "lost_s_per_dispatch": ("lost in a dispatch", "at most"),
}


def print_check(document: CheckDocument, path: Path, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the outcome, or the document as one JSON object."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    console = Console(file=stream, highlight=False, soft_wrap=True)
    word = ("PASSED", "bold green") if document.passed else ("FAILED", "bold red")
    of = f"{document.continuations} continuations in {document.dispatches} dispatches"
    console.print(Text.assemble(word, f"  {document.target}, {of}"))
    for result in document.results:
        console.print(_line(result))
    if not document.passed:
        for cause in document.causes[:SHOWN_CAUSES]:
            console.print(Text(f"  {cause.code} {cause.title}: {seconds(cause.lost_s)}, {cause.tokens:,} tokens"))
        console.print(Text(f"dyno explain {document.run} shows where", style="dim"))


def _line(result: Result) -> Text:
    name, bound = _NAMES[result.metric]
    show = seconds if result.metric == "lost_s_per_dispatch" else share
    value = "not known" if result.value is None else show(result.value)
    mark = ("  ok   ", "green") if result.passed else ("  FAIL ", "red")
    return Text.assemble(mark, f"{name}: {value} ({bound} {show(result.limit)})")
