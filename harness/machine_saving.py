"""The profile of this machine, made from what doctor found, and its file in the user's folder. Measures nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from backends.base import TargetError
from harness.doctor import DoctorReport
from harness.machines import MachineMemory, MachineProfile, as_toml, own_folder, read_machine
from profiler.speed.rates import TypeRate

__all__ = ["name_of", "save", "saved_rates", "this_machine"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_GIB = 1 << 30


def name_of(report: DoctorReport) -> str:
    """A name made of the GPU or else the processor, and the memory: nothing that names the user or the host."""
    gpu = report.gpus[0] if report.gpus else None
    part = (gpu.name if gpu else None) or report.machine.cpu or "machine"
    words = re.sub(r"\(.*?\)|\b(nvidia|geforce|amd|apple|intel|cpu|processor|core)\b", " ", part.lower())
    size = (gpu.memory_bytes if gpu else None) or report.machine.memory_bytes
    pieces = re.findall(r"[a-z0-9]+", words)[:4]
    return "-".join([*(pieces or ["machine"]), *([f"{round(size / _GIB)}g"] if size else [])])


def this_machine(report: DoctorReport, name: str, date: str, rates: Sequence[TypeRate] = ()) -> MachineProfile:
    """The profile of the machine that a report is about; `date` is today (`2026-11-20`).

    The bandwidth of a GPU's memory is not measured, so it is left out; the first GPU counts.

    Raises:
        TargetError: the name cannot be a file's, or the system does not tell how much memory there is.
    """
    here, measured = report.machine, report.bandwidth
    if not _NAME.fullmatch(name):
        raise TargetError(f"{name!r} cannot be a machine's name", hint="use small letters, digits, dots and dashes")
    if here.memory_bytes is None:
        raise TargetError("the system does not tell how much memory there is", hint="write the file by hand")
    told = [gpu for gpu in report.gpus if gpu.memory_bytes is not None]
    unified = report.unified_memory
    limit = unified.wired_limit_bytes if unified else None
    read = [one for one in (measured.all_cores_gb_per_s, measured.one_thread_gb_per_s) if one is not None]
    doubts = f" ({'; '.join(measured.doubts)})" if measured.doubts else ""
    return MachineProfile(
        name=name,
        description=", ".join(part for part in (here.cpu, *(gpu.name for gpu in report.gpus), here.system) if part),
        provenance="measured",
        date=date,
        cores=here.cores_physical or here.cores_logical,
        unified=unified is not None or bool(report.gpus and not told),
        memory=MachineMemory(
            bytes=here.memory_bytes,
            source="told by the system",
            usable_bytes=limit,
            usable_source=unified.source if unified and limit is not None else None,
            bandwidth_gb_per_s=round(max(read), 1) if read else None,
            bandwidth_source=f"measured by dyno on {date}, {measured.threads} threads{doubts}" if read else None,
        ),
        device=MachineMemory(bytes=told[0].memory_bytes or 0, source=f"told by {told[0].source}", name=told[0].name)
        if told and unified is None
        else None,
        rates=tuple(rates),
    )


def saved_rates(name: str) -> tuple[TypeRate, ...]:
    """The calibrated rates that the user's profile of that name holds already; each keeps its own date.

    Raises:
        TargetError: there is such a file, and it is no profile.
    """
    path = own_folder() / f"{name}.toml"
    return read_machine(path).rates if path.exists() else ()


def save(profile: MachineProfile) -> Path:
    """Write the profile into the user's folder, in place of one of that name, and say where.

    Raises:
        TargetError: the folder cannot be written, or the file there was not measured here: a person wrote it.
    """
    path = own_folder() / f"{profile.name}.toml"
    if path.exists() and read_machine(path).provenance != "measured":
        raise TargetError(f"{path} was not written by dyno", hint="choose another name with --name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_toml(profile), encoding="utf-8", newline="\n")
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error.strerror}", hint="set XDG_CONFIG_HOME") from error
    return path
