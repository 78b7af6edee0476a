"""`dyno doctor --save`: write the profile of this machine, calibrated if asked, and say what it holds.

`harness.machine_saving` makes and writes it, `harness.quant.calibrating` measures.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from backends.base import ModelFileError
from harness.doctor import DoctorReport
from harness.machine_saving import name_of, save, saved_rates, this_machine
from harness.quant.calibrating import CalibratedModel, calibrate, chosen, worth_calibrating
from profiler.model_file import read_model
from profiler.model_file.base import ModelFile
from profiler.speed.prediction import roofline_share
from profiler.speed.rates import TypeRate, main_type

__all__ = ["save_machine"]


def save_machine(report: DoctorReport, name: str | None, *, calibrated: bool, console: Console | None = None) -> None:
    """Save the machine that the report is about, under `name` or one made from what it is.

    Rates that its file holds already are kept, unless new ones are calibrated.

    Raises:
        TargetError: the name, or the file of that name, cannot be used.
    """
    console = console or Console(stderr=True, highlight=False)
    name = name or name_of(report)
    now = datetime.datetime.now().astimezone()  # noqa: TID251 (the date of a profile)
    today = now.date().isoformat()
    kept = saved_rates(name)
    # Made before anything is measured, so that a name that cannot be used costs no minutes.
    profile = this_machine(report, name, today, kept)
    if calibrated:
        fresh = _calibrated(report, today, console)
        types = {(rate.type, rate.experts, rate.engine) for rate in fresh}
        older = [rate for rate in kept if (rate.type, rate.experts, rate.engine) not in types]
        profile = this_machine(report, name, today, (*fresh, *older))
    path = save(profile)
    console.print(Text(f"saved {path}"), soft_wrap=True)
    console.print(Text(f"dyno quant FILES --machine {name} predicts for it, here and elsewhere"), soft_wrap=True)


def _calibrated(report: DoctorReport, today: str, console: Console) -> tuple[TypeRate, ...]:
    if report.load.quiet is False:
        console.print(Text("the machine is busy: the rates will be too low", style="yellow"))
    models = chosen(_readable(report), report.available_memory_bytes)

    def began(number: int, of: int, model: ModelFile) -> None:
        console.print(Text(f"calibrating with model {number} of {of}: {model.path.name}"), soft_wrap=True)

    rates, shown = calibrate(models, measured_on=today, on_model=began)
    for one in shown:
        console.print(Text(f"  {_said(one, report)}", style="yellow" if one.failed else ""), soft_wrap=True)
    if not worth_calibrating(rates):
        console.print(
            Text(
                "no model of 256 MiB or more was calibrated with: these rates say nothing of larger ones. "
                "--models FOLDER names a folder that has some",
                style="yellow",
            ),
            soft_wrap=True,
        )
    return rates


def _readable(report: DoctorReport) -> list[ModelFile]:
    """The models that doctor found and that can be used; Ollama's have no name of a model file, but are one."""
    found: list[ModelFile] = []
    for model in report.models.models:
        if model.target is None or model.fault is not None:
            continue
        try:
            found.append(read_model(Path(model.path)))
        except ModelFileError:
            continue  # doctor's own table says what is wrong with it
    return found


def _said(one: CalibratedModel, report: DoctorReport) -> str:
    if one.failed is not None:
        return f"{one.model.path.name} was left out: {one.failed}"
    bandwidth = report.bandwidth.all_cores_gb_per_s
    words = [f"{main_type(one.model)} on {one.engine}"]
    for rate in one.rates:
        decode = max(rate.decode_tokens_per_s, default=None)
        if decode is not None:
            share = (
                None if bandwidth is None else roofline_share(one.model, "f16", rate.depth_tokens, decode, bandwidth)
            )
            of = "" if share is None or report.gpus else f", {share:.0%} of the bandwidth"
            words.append(f"{decode:.1f} tok/s at {rate.depth_tokens} tokens{of}")
    return "; ".join(words)
