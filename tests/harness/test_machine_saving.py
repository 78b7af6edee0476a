"""The profile of this machine: what it is made of, its name, and its file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from backends.base import TargetError
from harness.cli.machine_save import save_machine
from harness.doctor import DoctorReport
from harness.machine_saving import name_of, save, saved_rates, this_machine
from harness.machines import MachineProfile, machine_named
from profiler.bandwidth import Bandwidth, withheld
from profiler.hardware import GpuState, UnifiedMemory
from profiler.records import Machine
from profiler.speed.rates import TypeRate
from tests.harness.test_doctor import app, made_report

GIB = 1 << 30
RATE = TypeRate("Q4_K", 30.0, GIB, GIB, engine="llama-server", measured_on="2026-11-01")


@pytest.fixture
def report(tmp_path: Path) -> DoctorReport:
    here = Machine("Linux 6 x86_64", "AMD Ryzen 9 7950X 16-Core Processor", 32, 16, 64 * GIB)
    read = Bandwidth(30.0, 61.26, threads=32)
    return msgspec.structs.replace(made_report(tmp_path), machine=here, gpus=(), bandwidth=read, unified_memory=None)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config" / "dyno" / "machines"


def test_a_processor_alone(report: DoctorReport) -> None:
    profile = this_machine(report, "mine", "2026-11-20", (RATE,))
    assert profile.memory is not None
    assert (profile.memory.bytes, profile.memory.bandwidth_gb_per_s) == (64 * GIB, 61.3)
    assert profile.memory.bandwidth_source == "measured by dyno on 2026-11-20, 32 threads"
    assert (profile.device, profile.unified, profile.cores, profile.rates) == (None, False, 16, (RATE,))
    assert name_of(report) == "ryzen-9-7950x-16-64g"


def test_a_gpu_of_which_the_bandwidth_is_not_measured(report: DoctorReport) -> None:
    gpu = GpuState("NVIDIA GeForce RTX 4090", 24 * GIB, 0, "580")
    seen = msgspec.structs.replace(report, gpus=(gpu,), bandwidth=withheld("not asked for"))
    profile = this_machine(seen, "mine", "2026-11-20")
    assert profile.device is not None
    assert (profile.device.bytes, profile.device.bandwidth_gb_per_s) == (24 * GIB, None)
    assert profile.memory is not None
    assert profile.memory.bandwidth_gb_per_s is None
    assert name_of(seen) == "rtx-4090-24g"


def test_memory_that_the_gpu_shares(report: DoctorReport) -> None:
    apple = UnifiedMemory(64 * GIB, 48 * GIB, "mlx")
    mac = this_machine(msgspec.structs.replace(report, unified_memory=apple), "mac", "2026-11-20")
    assert mac.memory is not None
    assert (mac.unified, mac.device, mac.memory.usable_bytes, mac.memory.usable_source) == (
        True,
        None,
        48 * GIB,
        "mlx",
    )
    spark = this_machine(msgspec.structs.replace(report, gpus=(GpuState("GB10", None, None),)), "spark", "2026-11-20")
    assert (spark.unified, spark.device) == (True, None)


def test_what_cannot_be_saved_is_told(report: DoctorReport, own: Path) -> None:
    with pytest.raises(TargetError, match="cannot be a machine's name"):
        this_machine(report, "../mine", "2026-11-20")
    unknown = msgspec.structs.replace(report.machine, memory_bytes=None)
    with pytest.raises(TargetError, match="how much memory"):
        this_machine(msgspec.structs.replace(report, machine=unknown), "mine", "2026-11-20")
    own.mkdir(parents=True)
    written = 'description = "by hand"\nprovenance = "published"\n[memory]\nbytes = 1\nsource = "s"\n'
    (own / "mine.toml").write_text(written, encoding="utf-8")
    with pytest.raises(TargetError, match="not written by dyno"):
        save(this_machine(report, "mine", "2026-11-20"))
    assert (own / "mine.toml").read_text(encoding="utf-8") == written


def test_saving_again_keeps_the_rates(report: DoctorReport, own: Path) -> None:
    assert saved_rates("mine") == ()
    profile: MachineProfile = this_machine(report, "mine", "2026-11-19", (RATE,))
    assert machine_named(str(save(profile))) == profile
    console = Console(width=200, record=True, quiet=True)
    save_machine(report, "mine", calibrated=False, console=console)
    again = machine_named("mine")
    assert again.rates == (RATE,)
    assert again.date != "2026-11-19"


def test_options_that_need_save_say_so() -> None:
    result = CliRunner().invoke(app(), ["--calibrate"])
    assert result.exit_code == 2
    assert "add --save" in result.output


def test_the_command_saves_what_it_found(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(own))
    result = CliRunner().invoke(app(), ["--no-bandwidth", "--save", "--name", "here"])
    assert result.exit_code == 0, result.output
    assert machine_named("here").provenance == "measured"
