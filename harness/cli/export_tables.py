"""Stored runs as tables and as spans for other programs. The work behind `dyno export json|csv|parquet|otel`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.history.choosing import chosen_runs
from harness.history.database import Answer, History
from harness.history.otel import spans_of
from harness.history.stored import name_of, read_work, run_folders
from harness.history.tables import VIEWS
from profiler.report.history import write_csv
from profiler.run_files import StoreError, renamed

__all__ = ["export_spans", "export_tables"]

_NO_RUNS: Final = "every command that measures makes one: try dyno demo"


def export_tables(runs: Path, names: tuple[str, ...], output: Path, form: str) -> None:
    """Write `output/<view>.<form>` for every view that has rows; `form` is json, csv or parquet.

    Raises:
        UnknownRun: a name means no run.
        StoreError: there are no runs, one cannot be read, or a file cannot be written.
    """
    only = list(chosen_runs(runs, names).values()) if names else None
    with History(runs, only=only, lock=False) as history, renamed(f"cannot write to {output}"):
        for note in history.notes:
            print(f"dyno: left out: {note}", file=sys.stderr)
        counts = {view: history.ask(f"SELECT count(*) FROM {view}").rows[0][0] for view in VIEWS}
        if not counts["runs"]:
            raise StoreError(f"no runs in {runs}", hint=_NO_RUNS)
        output.mkdir(parents=True, exist_ok=True)
        for view in (view for view, count in counts.items() if count):
            file = output / f"{view}.{form}"
            if form == "parquet":
                history.write_parquet(view, file)
            else:
                _write(history.ask(f"FROM {view}"), file, form)
    told = ", ".join(f"{count} {view}" for view, count in counts.items() if count)
    print(f"{output}: {told}", file=sys.stderr)


def export_spans(runs: Path, names: tuple[str, ...], output: Path, *, content: bool) -> None:
    """Write `output/<run>.json`, an ExportTraceServiceRequest of OTLP, for every run that has spans.

    Raises:
        UnknownRun: a name means no run.
        StoreError: no run has spans, one that was named cannot be read, or a file cannot be written.
    """
    written = 0
    chosen = chosen_runs(runs, names) if names else {name_of(folder): folder for folder in run_folders(runs.absolute())}
    for name, folder in chosen.items():
        try:
            work = read_work(folder)
        except StoreError as error:
            if names:
                raise
            print(f"dyno: left out: {name}: {error}", file=sys.stderr)
            continue
        if work.run.requests or work.dispatches:
            with renamed(f"cannot write to {output}"):
                output.mkdir(parents=True, exist_ok=True)
                spans = msgspec.json.encode(spans_of(name, work, content=content))
                (output / f"{name.replace('/', '-')}.json").write_bytes(spans + b"\n")
            written += 1
    if not written:
        raise StoreError(f"no run in {runs} holds a request", hint=_NO_RUNS)
    print(f"{output}: spans of {written} runs", file=sys.stderr)


def _write(answer: Answer, file: Path, form: str) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        if form == "csv":
            write_csv(out, answer.names, answer.rows)
            return
        for number, row in enumerate(answer.rows):
            values: dict[str, Any] = dict(zip(answer.names, row, strict=True))
            out.write(("[\n" if not number else ",\n") + msgspec.json.encode(values).decode())
        out.write("\n]\n")
