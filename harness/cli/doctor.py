"""`dyno doctor`: what this machine has, whether it is quiet enough to measure, what runs here, what is missing.

`harness.doctor` finds out, `harness.cli.doctor_tables` formats.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["doctor"]


def doctor(
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="ADDRESS", help="Look for a server here too; may be given several times."),
    ] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", metavar="FOLDER", help="Look for models here too; may be given several times."),
    ] = None,
    bandwidth: Annotated[
        bool, typer.Option("--bandwidth/--no-bandwidth", help="Measure how fast the memory is read: takes a second.")
    ] = True,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/doctor.schema.json) instead of tables.")
    ] = False,
) -> None:
    """Say what this machine has and is doing: hardware, load, engines, running servers, models. Takes some seconds."""
    from backends.discovery.servers import check_url
    from harness.cli.doctor_tables import print_report
    from harness.doctor import gather
    from profiler.report.json_document import print_json

    report = gather(
        clock=time.perf_counter_ns,
        urls=[check_url(address) for address in url or ()],
        folders=[folder.absolute() for folder in models or ()],
        with_bandwidth=bandwidth,
    )
    if json_output:
        print_json(report)
    else:
        print_report(report)
