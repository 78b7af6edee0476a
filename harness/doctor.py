"""What `dyno doctor` finds out: the machine, whether it is quiet, engines, servers that listen, models, what dyno sees.

It prints nothing and starts no engine. No engine is imported: packages are looked up, so one that is installed but
broken is shown as installed. Everything that looks at the machine is passed in, so that a test can bring another one.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

import backends
from backends.discovery.model_files import Search, find_models
from backends.discovery.observed import OBSERVED, Observed
from backends.discovery.places import Place, known_places
from backends.discovery.servers import DEADLINE_S, FoundServer, find_servers, usual_urls
from profiler import bandwidth, guards, hardware, machine, readings, run_names
from profiler.records import Guard, GuardSample, Machine
from profiler.run_files import StoreError

__all__ = ["MODELS", "DoctorReport", "EngineState", "Load", "engine_state", "gather", "measure_load"]

MODELS: Final = Path(__file__).parents[1] / "profiles" / "models" / "tiny"

NEEDS: Final = {
    "llama-server": ("xllamacpp", "xllamacpp"),
    "llama-cpp": ("llama_cpp", "llama-cpp-python"),
    "llama-cpp-server": ("starlette_context", "llama-cpp-python"),
    "mlx": ("mlx_lm", "mlx-lm"),
    "mlx-server": ("mlx_lm", "mlx-lm"),
    "openai-sdk": ("openai", "openai"),
}
"""Package that an adapter needs, as imported and as installed. Adapters that are not named need nothing more."""

BINARIES: Final = {"llama-server": "llama-server"}
"""A program on PATH that the adapter prefers to the package."""

LAUNCHED: Final = frozenset(row.engine for row in OBSERVED if row.way == "launched")


class Load(msgspec.Struct, frozen=True):
    """One second of this machine. `nice_share` is niced work as a share of all cores; `quiet`: nothing is doubtful."""

    sample: GuardSample
    nice_share: float | None
    quiet: bool | None
    doubts: tuple[Guard, ...]


class EngineState(msgspec.Struct, frozen=True):
    """Whether an engine can be used: its version or place if installed, the command that installs it if not.

    An engine that only attaches to a running server needs nothing, and is always installed; `launches` tells them
    apart.
    """

    name: str
    installed: bool
    version: str | None = None
    install: str | None = None
    launches: bool = False


class DoctorReport(msgspec.Struct, frozen=True):
    """What `dyno doctor` found. Memory in bytes, bandwidth in GB/s of 1e9 bytes, unknown is `None`.

    `observed` has a row for every engine that is installed and every server that listens; `runs_stored` is `None` where
    the folder cannot be read. Schema 2 (2026-11) added swap, bandwidth, servers, models of other programs and what can
    be observed; the bundled models moved into `models`.
    """

    machine: Machine
    available_memory_bytes: int
    swap: hardware.Swap | None
    unified_memory: hardware.UnifiedMemory | None
    gpus: tuple[hardware.GpuState, ...]
    load: Load
    bandwidth: bandwidth.Bandwidth
    engines: tuple[EngineState, ...]
    servers: tuple[FoundServer, ...]
    models: Search
    observed: tuple[Observed, ...]
    versions: dict[str, str]
    runs: str
    runs_stored: int | None
    schema: int = 2


def gather(
    *,
    clock: Callable[[], int],
    runs: Path = run_names.RUNS,
    urls: Iterable[str] = (),
    folders: Iterable[Path] = (),
    with_bandwidth: bool = True,
    load: Callable[[], Load] | None = None,
    measure: Callable[[Machine, int, Load], bandwidth.Bandwidth] | None = None,
    usual: Callable[[], Iterable[str]] = usual_urls,
    deadline_s: float = DEADLINE_S,
    places: Callable[[Iterable[Path]], Iterable[Place]] = known_places,
    bundled: Path = MODELS,
) -> DoctorReport:
    """Everything doctor says, within a few seconds; `runs`, `folders` and `bundled` need not exist.

    `urls` are looked at besides the `usual` ones, `folders` besides the known `places`; each server gets `deadline_s`.
    """
    try:
        stored: int | None = len(run_names.list_runs(runs))
    except StoreError:
        stored = None
    here, available = machine.machine(), machine.available_memory_bytes()
    now = (load or (lambda: measure_load(clock)))()
    # After the load, which it would be a part of, and before anything is asked to work.
    read = (measure or _measure_bandwidth(clock))(here, available, now) if with_bandwidth else None
    servers = find_servers(usual(), asked=urls, deadline_s=deadline_s)
    engines = tuple(engine_state(name) for name in backends.engine_names())
    return DoctorReport(
        machine=here,
        available_memory_bytes=available,
        swap=hardware.swap(),
        unified_memory=hardware.unified_memory(),
        gpus=hardware.gpu_states(),
        load=now,
        bandwidth=read or bandwidth.withheld("not asked for (--no-bandwidth)"),
        engines=engines,
        servers=servers,
        models=find_models((*places(folders), Place("bundled", bundled)), clock=clock),
        observed=_observed(engines, servers),
        versions=machine.versions(),
        runs=str(runs.resolve()),
        runs_stored=stored,
    )


def measure_load(clock: Callable[[], int], seconds: float = 1.0) -> Load:
    """Watch the machine for a moment."""
    before = readings.read_machine((), clock())
    time.sleep(seconds)
    after = readings.read_machine((), clock())
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
    launches = name in LAUNCHED
    if name not in NEEDS:
        return EngineState(name, installed=True, launches=launches)
    binary = which(BINARIES[name]) if name in BINARIES else None
    if binary is not None:
        return EngineState(name, installed=True, version=_binary_version(binary), launches=launches)
    package, distribution = NEEDS[name]
    if has_package(package):
        version = machine.versions().get(distribution)
        return EngineState(name, installed=True, version=version, launches=launches)
    install = backends.missing_extra(package, name).hint
    return EngineState(name, installed=False, install=install, launches=launches)


def _measure_bandwidth(clock: Callable[[], int]) -> Callable[[Machine, int, Load], bandwidth.Bandwidth]:
    def measure(here: Machine, available: int, load: Load) -> bandwidth.Bandwidth:
        busy = ("the machine is busy: the figures are too low",) if load.quiet is False else ()
        cores = here.cores_logical or 1
        return bandwidth.measure(cores, available, bandwidth.cache_bytes(), doubts=busy, clock=clock)

    return measure


def _observed(engines: Iterable[EngineState], servers: Iterable[FoundServer]) -> tuple[Observed, ...]:
    """The rows of engines that can be launched here, and of those that a server was found for."""
    wanted = {("launched", engine.name) for engine in engines if engine.installed}
    wanted |= {("attached", server.engine) for server in servers if server.engine is not None}
    return tuple(row for row in OBSERVED if (row.way, row.engine) in wanted)


def _binary_version(binary: str) -> str:
    """What a program says of its version in the first such line, else where it lies."""
    try:
        reply = subprocess.run([binary, "--version"], capture_output=True, text=True, errors="replace", timeout=10)
    except (OSError, subprocess.SubprocessError):
        return binary
    lines = (reply.stdout + reply.stderr).splitlines()
    said = next((line.strip() for line in lines if line.lower().startswith("version")), None)
    return f"{said} ({binary})" if said else binary
