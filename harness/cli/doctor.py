"""`dyno doctor`: what this machine has, whether it is quiet enough to measure, and what is missing.

`gather` finds out and prints nothing; the tables only format. No engine is imported or started: packages are looked
up, so a package that is installed but broken is shown as installed.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from profiler.records import Guard, GuardSample, Machine

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["DoctorReport", "EngineState", "GpuState", "Load", "ModelFile", "doctor", "gather"]

MODELS: Final = Path(__file__).parents[2] / "profiles" / "models" / "tiny"

_NEEDS: Final = {
    "llama-server": ("xllamacpp", "xllamacpp"),
    "llama-cpp": ("llama_cpp", "llama-cpp-python"),
    "llama-cpp-server": ("starlette_context", "llama-cpp-python"),
    "mlx": ("mlx_lm", "mlx-lm"),
    "mlx-server": ("mlx_lm", "mlx-lm"),
}
"""Package that an adapter needs, as imported and as installed. Adapters that are not named need nothing more."""

_BINARIES: Final = {"llama-server": "llama-server"}
"""A program on PATH that the adapter prefers to the package."""

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


class Load(msgspec.Struct, frozen=True):
    """One second of this machine. `nice_share` is niced work as a share of all cores; `quiet`: nothing is doubtful."""

    sample: GuardSample
    nice_share: float | None
    quiet: bool | None
    doubts: tuple[Guard, ...]


class GpuState(msgspec.Struct, frozen=True):
    """A GPU and its memory in bytes; `None` where it shares the system's."""

    name: str
    memory_bytes: int | None
    used_bytes: int | None


class EngineState(msgspec.Struct, frozen=True):
    """Whether an engine can be used: its version or place if installed, the command that installs it if not."""

    name: str
    installed: bool
    version: str | None = None
    install: str | None = None


class ModelFile(msgspec.Struct, frozen=True):
    """A model file that comes with dyno."""

    name: str
    size_bytes: int


class DoctorReport(msgspec.Struct, frozen=True):
    """What `dyno doctor` found; memory in bytes, `runs_stored` is `None` where the folder cannot be read."""

    machine: Machine
    available_memory_bytes: int
    load: Load
    gpus: tuple[GpuState, ...]
    engines: tuple[EngineState, ...]
    models: tuple[ModelFile, ...]
    versions: dict[str, str]
    runs: str
    runs_stored: int | None
    schema: int = 1


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Say what this machine has: load, memory, GPUs, engines, bundled models, stored runs. Takes a second."""
    report = gather()
    if json_output:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
        return
    from rich.console import Console

    console = Console(highlight=False)
    for table in _tables(report):
        console.print(table)


def gather(*, runs: Path | None = None, models: Path = MODELS, load: Callable[[], Load] | None = None) -> DoctorReport:
    """Everything doctor says, within about a second; `runs` and `models` are folders, which need not exist."""
    import backends
    from profiler import machine, store

    folder = runs or store.RUNS
    try:
        stored: int | None = len(store.list_runs(folder))
    except store.StoreError:
        stored = None
    return DoctorReport(
        machine=machine.machine(),
        available_memory_bytes=machine.available_memory_bytes(),
        load=(load or measure_load)(),
        gpus=tuple(GpuState(g.name, g.memory_bytes, g.used_bytes) for g in machine.gpus()),
        engines=tuple(engine_state(name) for name in backends.engine_names()),
        models=tuple(ModelFile(f.name, f.stat().st_size) for f in sorted(models.glob("*.gguf"))),
        versions=machine.versions(),
        runs=str(folder.resolve()),
        runs_stored=stored,
    )


def measure_load(seconds: float = 1.0) -> Load:
    """Watch the machine for a moment."""
    import time

    from profiler import guards, readings

    before = readings.read_machine((), time.perf_counter_ns())
    time.sleep(seconds)
    after = readings.read_machine((), time.perf_counter_ns())
    sample = guards.sample(before, after)
    doubts = guards.judge([sample], (before.at_ns, after.at_ns))
    quiet = None if sample.foreign_cpu is None else not any(g.severity == "doubtful" for g in doubts)
    return Load(sample, readings.nice_share(before, after), quiet, doubts)


def engine_state(
    name: str,
    *,
    has_package: Callable[[str], bool] = lambda package: importlib.util.find_spec(package) is not None,
    which: Callable[[str], str | None] = shutil.which,
) -> EngineState:
    """Whether an engine can be used here, found without importing it."""
    import backends
    from profiler import machine

    if name not in _NEEDS:
        return EngineState(name, installed=True)
    binary = which(_BINARIES[name]) if name in _BINARIES else None
    if binary is not None:
        return EngineState(name, installed=True, version=_binary_version(binary))
    package, distribution = _NEEDS[name]
    if has_package(package):
        return EngineState(name, installed=True, version=machine.versions().get(distribution))
    return EngineState(name, installed=False, install=backends.missing_extra(package, name).hint)


def _binary_version(binary: str) -> str:
    """What a program says of its version in the first such line, else where it lies."""
    try:
        reply = subprocess.run([binary, "--version"], capture_output=True, text=True, errors="replace", timeout=10)
    except (OSError, subprocess.SubprocessError):
        return binary
    lines = (reply.stdout + reply.stderr).splitlines()
    said = next((line.strip() for line in lines if line.lower().startswith("version")), None)
    return f"{said} ({binary})" if said else binary


def _tables(report: DoctorReport) -> list[Table]:
    return [_machine_table(report), _engine_table(report), _data_table(report)]


def _table(title: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _machine_table(report: DoctorReport) -> Table:
    from rich.text import Text

    here, load = report.machine, report.load
    table = _table("machine")
    table.add_row("system", Text(here.system))
    table.add_row("cpu", Text(here.cpu or "unknown"))
    table.add_row("cores", f"{_or_unknown(here.cores_logical)} ({_or_unknown(here.cores_physical)} physical)")
    table.add_row("memory", f"{_gib(report.available_memory_bytes)} available of {_gib(here.memory_bytes)}")
    for gpu in report.gpus:
        used = "" if gpu.memory_bytes is None else f", {_gib(gpu.used_bytes)} used of {_gib(gpu.memory_bytes)}"
        table.add_row("gpu", Text(gpu.name + used))
    if not report.gpus:
        table.add_row("gpu", "none found (only NVIDIA's are looked for)")
    verdicts = {True: "[green]quiet enough to measure[/]", False: "[red]too busy to measure[/]", None: "unknown"}
    table.add_row("load now", verdicts[load.quiet])
    shares = {"foreign": load.sample.foreign_cpu, "niced": load.nice_share, "stolen": load.sample.steal}
    table.add_row("", ", ".join(f"{name} {_percent(share)}" for name, share in shares.items()) + " of all cores")
    for doubt in load.doubts:
        table.add_row("", Text(doubt.text, style="red" if doubt.severity == "doubtful" else "yellow"))
    return table


def _engine_table(report: DoctorReport) -> Table:
    from rich.text import Text

    table = _table("engines")
    for engine in report.engines:
        state = Text("installed", style="green") if engine.installed else Text("missing", style="yellow")
        more = engine.version or (f"install it with: {engine.install}" if engine.install else "")
        table.add_row(engine.name, Text.assemble(state, f"  {more}"))
    table.add_row("versions", Text(", ".join(f"{name} {version}" for name, version in report.versions.items())))
    return table


def _data_table(report: DoctorReport) -> Table:
    from rich.text import Text

    table = _table("files")
    for model in report.models:
        table.add_row("model", Text(f"{model.name}  {model.size_bytes / _MIB:.1f} MiB"))
    if not report.models:
        table.add_row("model", f"none in {MODELS}: this installation is not complete, install dyno again")
    stored = "cannot be read" if report.runs_stored is None else f"{report.runs_stored} stored"
    table.add_row("runs", Text(f"{report.runs}  ({stored})"))
    return table


def _gib(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else f"{size_bytes / _GIB:.1f} GiB"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def _or_unknown(count: int | None) -> str:
    return "unknown" if count is None else str(count)
