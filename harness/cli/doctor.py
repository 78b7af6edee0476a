"""`dyno doctor`: what this machine has, whether it is quiet enough to measure, what runs here, what is missing.

`harness.doctor` finds out, `harness.cli.doctor_tables` formats; with `--sandbox`, `harness.sandbox.choice` and
`harness.cli.sandbox_tables`; with `--save`, `harness.cli.machine_save`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["doctor"]

FINDING, ENVIRONMENT = 1, 3


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
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Only try to break out of each sandbox here; exit with 1 if one can.")
    ] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Write this machine's profile for `dyno quant` (docs/machines.md).")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="With --save: its name; else one made from the hardware."),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="With --save: measure the rates of models that lie here too; takes minutes."),
    ] = False,
    json_output: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object (docs/doctor.schema.json, docs/sandbox.schema.json)."),
    ] = False,
) -> None:
    """Say what this machine has and is doing: hardware, load, engines, running servers, models. Takes some seconds."""
    if sandbox:
        _check_sandboxes(json_output=json_output)
        return
    if (calibrate or name is not None) and not save:
        raise typer.BadParameter("add --save, which writes the profile", param_hint="--calibrate, --name")
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
    if save:
        from harness.cli.machine_save import save_machine

        save_machine(report, name, calibrated=calibrate)


def _check_sandboxes(*, json_output: bool) -> None:
    """Attack every sandbox that there is here; what is tried is made for it, and removed."""
    from harness.cli.sandbox_tables import print_survey
    from harness.sandbox.choice import survey
    from profiler.report.json_document import print_json

    found = survey()
    if json_output:
        print_json(found)
    else:
        print_survey(found)
    if found.chosen is None:
        raise typer.Exit(ENVIRONMENT)
    if found.leaks:
        raise typer.Exit(FINDING)
