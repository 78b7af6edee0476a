"""The terminal report: verdict first, nothing cut at 80 columns, doubts and failures where they are seen."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from profiler.document import CacheDocument
from profiler.records import Failure, Guard, RunClosed
from profiler.report.cache import print_document, render
from profiler.report.figures import count, milliseconds, rate, seconds, share
from profiler.residency.records import ResidencySample
from profiler.residency.summary import summarise_residency
from profiler.summary import summarise
from tests.profiler.test_summary import CLOCK, COLD, HIT, INFO, LOST, request

PATH = Path("runs/r1")


def shown(document: CacheDocument, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(document, PATH, width))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


DOCUMENT = summarise(INFO, [COLD, *[HIT] * 12, LOST, CLOCK], closed=RunClosed(2, "complete"))


def test_the_verdict_comes_first_then_the_seconds_and_the_worst_session() -> None:
    lines = [line for line in shown(DOCUMENT).splitlines() if line.strip()]
    assert lines[0].startswith("UNSTABLE")
    assert "749 ms" in lines[1]
    assert "100% on the engine side" in lines[1]
    assert "most in clean" in lines[1]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_nothing_is_cut(width: int) -> None:
    text = shown(DOCUMENT, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "1,490" in text


def test_unknown_is_a_question_mark() -> None:
    text = shown(summarise(INFO, [request(cached=None)] * 12))
    assert text.strip().startswith("CANNOT TELL")
    assert "seconds lost: not known" in text
    assert " ? " in text


def test_no_loss_is_said_so() -> None:
    assert "no time was lost" in shown(summarise(INFO, [HIT] * 12))


def test_doubts_are_marked_and_explained() -> None:
    guard = Guard("foreign_cpu", "doubtful", "other processes used 40 % of all cores")
    text = shown(summarise(INFO, [HIT], guards={1: (guard,)}, doubts=(guard,), notes=("a line was torn",)))
    assert "1 requests were measured on a disturbed machine (foreign_cpu)" in text
    assert "* other processes" in text
    assert "! a line was torn" in text
    assert "1000 ms*" in text


def test_failures_are_listed() -> None:
    failed = msgspec.structs.replace(HIT, error=Failure("EngineFault", "HTTP 500: [bold]no[/bold]"))
    text = shown(summarise(INFO, [failed] * 5))
    assert "EngineFault: HTTP 500: [bold]no[/bold]" in text
    assert "and 2 more failed requests" in text


def test_an_unfinished_run_says_so() -> None:
    assert "unfinished: only what had finished is shown" in shown(summarise(INFO, [HIT]))
    assert "unfinished" not in shown(DOCUMENT)


def test_a_run_without_a_request_has_no_table() -> None:
    text = shown(summarise(INFO, []))
    assert text.strip().startswith("CANNOT TELL")
    assert "session" not in text


def test_json_is_the_document() -> None:
    out = io.StringIO()
    print_document(DOCUMENT, PATH, json_output=True, out=out)
    value = json.loads(out.getvalue())
    assert value["run"] == "r1"
    assert value["requests"][0]["class"] == "cold"
    assert msgspec.json.decode(out.getvalue(), type=CacheDocument) == DOCUMENT


def test_memory_stands_under_the_losses() -> None:
    remote = [ResidencySample(at_ns=1, lateness_ns=0, processes=0, source=None)]
    document = summarise(INFO, [HIT] * 12, residency=summarise_residency(INFO, [HIT], remote))
    lines = [line for line in shown(document).splitlines() if line.strip()]
    assert lines[2].startswith("memory not measurable from here")
    assert not any("memory" in line for line in shown(summarise(INFO, [HIT] * 12)).splitlines())


def test_figures() -> None:
    assert [seconds(v) for v in (None, 0, 0.0004, 0.5, 12.34)] == ["?", "0 s", "<1 ms", "500 ms", "12.3 s"]
    assert [share(v) for v in (None, 0, 0.9999, 1)] == ["?", "0.0 %", "99.9 %", "100 %"]
    assert [count(v) for v in (None, 0, 1234)] == ["?", "0", "1,234"]
    assert [rate(v) for v in (None, 12.34, 1234.5)] == ["?", "12.3", "1,234"]
    assert milliseconds(None) == "?"
