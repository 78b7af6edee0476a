"""Doctor: what it gathers on a made machine, what it says, and that it never fails on this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from backends import engine_names
from backends.discovery.observed import OBSERVED
from backends.discovery.places import Place
from harness.cli.doctor import doctor
from harness.doctor import NEEDS, DoctorReport, EngineState, Load, engine_state, gather, measure_load
from profiler.bandwidth import Bandwidth, withheld
from profiler.guards import judge
from profiler.records import GuardSample, Machine
from tests.backends.discovery.test_recognition import props, recorded
from tests.backends.discovery.test_servers import bodies
from tests.backends.recorded_http import Playing, serving
from tests.schema_file import check_schema_file

ROOT = Path(__file__).parents[2]
SCHEMA_FILE = ROOT / "docs" / "doctor.schema.json"


def standing() -> int:
    return 0


def made_load(foreign_cpu: float | None) -> Load:
    sample = GuardSample(
        at_ns=10**9,
        interval_ns=10**9,
        foreign_cpu=foreign_cpu,
        steal=None,
        swap_in_bytes=0,
        major_faults=None,
        lateness_ns=0,
    )
    quiet = None if foreign_cpu is None else foreign_cpu < 0.1
    return Load(sample, 0.25, quiet, judge([sample], (0, 10**9)))


def made_bandwidth(here: Machine, available_bytes: int, load: Load) -> Bandwidth:
    return Bandwidth(40.0, 60.0, threads=2, doubts=("busy",) if load.quiet is False else ())


def nowhere(given: Iterable[Path]) -> tuple[Place, ...]:
    return tuple(Place("given", path) for path in given)


def made_report(tmp_path: Path, foreign_cpu: float | None = 0.0, **given: Any) -> DoctorReport:
    """What doctor finds where nothing is but what is given."""
    return gather(
        clock=standing,
        **{
            "runs": tmp_path / "runs",
            "load": lambda: made_load(foreign_cpu),
            "measure": made_bandwidth,
            "usual": lambda: (),
            "deadline_s": 20.0,
            "places": nowhere,
            **given,
        },
    )


def test_an_engine_whose_package_is_there_is_installed() -> None:
    state = engine_state("llama-server", has_package=lambda name: name == "xllamacpp", which=lambda _: None)
    assert (state.name, state.installed, state.install, state.launches) == ("llama-server", True, None, True)


def test_a_missing_engine_names_the_command_that_installs_it() -> None:
    for name, extra in (("llama-server", "llama-server"), ("llama-cpp", "llama-cpp"), ("mlx", "mlx")):
        state = engine_state(name, has_package=lambda _: False, which=lambda _: None)
        assert state == EngineState(name, installed=False, install=f"pip install 'llmdyno[{extra}]'", launches=True)


def test_an_engine_that_needs_nothing_is_always_there() -> None:
    assert engine_state("scripted", has_package=lambda _: False, which=lambda _: None).installed
    assert engine_state("vllm", has_package=lambda _: False) == EngineState("vllm", installed=True)


def test_the_table_of_packages_names_engines() -> None:
    assert set(NEEDS) <= set(engine_names())


def program(folder: Path, text: str) -> str:
    file = folder / "llama-server"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.skipif(os.name != "posix", reason="runs a shell script")
def test_a_server_on_the_path_comes_before_the_package(tmp_path: Path) -> None:
    binary = program(tmp_path, "echo loading; echo 'version: 4711 (abc)' >&2")
    state = engine_state("llama-server", has_package=lambda _: True, which=lambda _: binary)
    assert (state.installed, state.version) == (True, f"version: 4711 (abc) ({binary})")
    silent = program(tmp_path, "exit 1")
    assert engine_state("llama-server", has_package=lambda _: False, which=lambda _: silent).version == silent
    gone = str(tmp_path / "gone")
    assert engine_state("llama-server", has_package=lambda _: False, which=lambda _: gone).version == gone


def test_everything_is_gathered(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "b.gguf").write_bytes(b"x" * 10)
    (models / "a.gguf").write_bytes(b"")
    for run in ("r1", "r2", "half-made"):
        (tmp_path / "runs" / run).mkdir(parents=True)
    for run in ("r1", "r2"):
        (tmp_path / "runs" / run / "run.json").touch()
    with serving(Playing(bodies({**recorded("openai"), "/props": props()}))) as server:
        report = made_report(tmp_path, urls=[server.url], folders=[models])
    listed = [(m.name, m.size_bytes, m.keeper) for m in report.models.models]
    assert listed[:2] == [("b.gguf", 10, "given"), ("a.gguf", 0, "given")]
    assert ("tiny-f16.gguf", "bundled") in {(name, keeper) for name, _, keeper in listed}
    assert [server.engine for server in report.servers] == ["llama-server"]
    assert (report.runs, report.runs_stored) == (str(tmp_path / "runs"), 2)
    assert [engine.name for engine in report.engines] == list(engine_names())
    assert report.machine.memory_bytes is not None
    assert 0 < report.available_memory_bytes <= report.machine.memory_bytes
    assert report.versions["python"]
    assert report.bandwidth.all_cores_gb_per_s == 60.0
    assert msgspec.json.decode(msgspec.json.encode(report), type=DoctorReport) == report


def test_rows_are_of_engines_that_are_here_and_of_servers_that_listen(tmp_path: Path) -> None:
    with serving(Playing(bodies(recorded("ollama")))) as server:
        report = made_report(tmp_path, urls=[server.url])
    installed = {engine.name for engine in report.engines if engine.installed and engine.launches}
    assert {row.engine for row in report.observed if row.way == "launched"} == installed
    assert [row.engine for row in report.observed if row.way == "attached"] == ["ollama"]
    assert set(report.observed) <= set(OBSERVED)


def test_nothing_at_all_is_a_report_too(tmp_path: Path) -> None:
    report = made_report(tmp_path, None, bundled=tmp_path / "none", with_bandwidth=False)
    assert (report.runs_stored, report.models.models, report.load.quiet, report.servers) == (0, (), None, ())
    assert report.bandwidth == withheld("not asked for (--no-bandwidth)")


def test_the_engines_are_not_imported(tmp_path: Path) -> None:
    before = set(sys.modules)
    made_report(tmp_path)
    assert not {"xllamacpp", "llama_cpp", "mlx", "mlx_lm"} & (set(sys.modules) - before)


def test_load_is_judged() -> None:
    load = measure_load(time.perf_counter_ns, 0.25)
    assert load.sample.interval_ns >= 250_000_000
    assert load.quiet is (not any(doubt.severity == "doubtful" for doubt in load.doubts))


def test_the_schema_file_is_current() -> None:
    check_schema_file("doctor", DoctorReport)


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(doctor)
    return made


@pytest.fixture
def empty_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "OLLAMA_MODELS", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_json_is_one_object(empty_home: Path) -> None:
    result = CliRunner().invoke(app(), ["--json", "--no-bandwidth", "--url", "127.0.0.1:9"])
    assert result.exit_code == 0, result.output
    report = msgspec.json.decode(result.stdout.encode(), type=DoctorReport)
    assert json.loads(result.stdout)["schema"] == 2
    assert report.runs_stored == 0
    assert report.models.models
    assert ("http://127.0.0.1:9", "nothing there") in {(server.url, server.state) for server in report.servers}


HIDDEN = """
import sys
for name in ("pynvml", "amdsmi", "mlx", "mlx_lm", "xllamacpp", "llama_cpp", "starlette_context", "openai"):
    sys.modules[name] = None
from harness.cli import main
main()
"""


def test_a_bare_machine_is_no_fault(tmp_path: Path) -> None:
    """No GPU library, no engine, no home, and a terminal that knows no colours."""
    environment = {"PATH": "", "HOME": "", "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "dumb"}
    command = [sys.executable, "-W", "error", "-c", HIDDEN, "doctor", "--no-bandwidth"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "no engines to start" in done.stdout
    assert "pip install 'llmdyno[llama-server]', then dyno demo" in done.stdout
    assert "\x1b" not in done.stdout
