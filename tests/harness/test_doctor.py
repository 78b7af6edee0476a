"""Doctor: what it gathers on a made machine, what it says, and that it never fails on this one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from backends import engine_names
from harness.cli.doctor import DoctorReport, EngineState, Load, ModelFile, doctor, engine_state, gather, measure_load
from profiler.guards import judge
from profiler.records import GuardSample


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
    quiet = None if foreign_cpu is None else True
    return Load(sample, 0.25, quiet, judge([sample], (0, 10**9)))


def test_an_engine_whose_package_is_there_is_installed() -> None:
    state = engine_state("llama-server", has_package=lambda name: name == "xllamacpp", which=lambda _: None)
    assert (state.name, state.installed, state.install) == ("llama-server", True, None)


def test_a_missing_engine_names_the_command_that_installs_it() -> None:
    for name, extra in (("llama-server", "llama-server"), ("llama-cpp", "llama-cpp"), ("mlx", "mlx")):
        state = engine_state(name, has_package=lambda _: False, which=lambda _: None)
        assert state == EngineState(name, installed=False, install=f"pip install 'llmdyno[{extra}]'")


def test_a_simulated_engine_needs_nothing() -> None:
    assert engine_state("scripted", has_package=lambda _: False, which=lambda _: None).installed


def program(folder: Path, text: str) -> str:
    file = folder / "llama-server"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.skipif(os.name != "posix", reason="runs a shell script")
def test_a_server_on_the_path_comes_before_the_package(tmp_path: Path) -> None:
    binary = program(tmp_path, "echo loading; echo 'version: 4711 (abc)' >&2")
    state = engine_state("llama-server", has_package=lambda _: True, which=lambda _: binary)
    assert state == EngineState("llama-server", installed=True, version=f"version: 4711 (abc) ({binary})")
    silent = program(tmp_path, "exit 1")
    assert engine_state("llama-server", has_package=lambda _: False, which=lambda _: silent).version == silent
    gone = str(tmp_path / "gone")
    assert engine_state("llama-server", has_package=lambda _: False, which=lambda _: gone).version == gone


def test_everything_is_gathered(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "b.gguf").write_bytes(b"x" * 10)
    (models / "a.gguf").write_bytes(b"")
    (models / "README.md").write_bytes(b"")
    for run in ("r1", "r2", "half-made"):
        (tmp_path / "runs" / run).mkdir(parents=True)
    for run in ("r1", "r2"):
        (tmp_path / "runs" / run / "run.json").touch()
    report = gather(runs=tmp_path / "runs", models=models, load=lambda: made_load(0.0))
    assert report.models == (ModelFile("a.gguf", 0), ModelFile("b.gguf", 10))
    assert (report.runs, report.runs_stored) == (str(tmp_path / "runs"), 2)
    assert [engine.name for engine in report.engines] == list(engine_names())
    assert report.machine.memory_bytes is not None
    assert 0 < report.available_memory_bytes <= report.machine.memory_bytes
    assert report.versions["python"]
    assert msgspec.json.decode(msgspec.json.encode(report), type=DoctorReport) == report


def test_nothing_at_all_is_a_report_too(tmp_path: Path) -> None:
    report = gather(runs=tmp_path / "none", models=tmp_path / "none", load=lambda: made_load(None))
    assert (report.runs_stored, report.models, report.load.quiet) == (0, (), None)


def test_the_engines_are_not_imported() -> None:
    before = set(sys.modules)
    gather(load=lambda: made_load(0.0))
    assert not {"xllamacpp", "llama_cpp", "mlx", "mlx_lm"} & (set(sys.modules) - before)


def test_load_is_judged() -> None:
    load = measure_load(0.25)
    assert load.sample.interval_ns >= 250_000_000
    assert load.quiet is (not any(doubt.severity == "doubtful" for doubt in load.doubts))


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(doctor)
    return made


def test_json_is_one_object(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app(), ["--json"])
    assert result.exit_code == 0, result.output
    report = msgspec.json.decode(result.stdout.encode(), type=DoctorReport)
    assert json.loads(result.stdout)["runs_stored"] == 0
    assert report.models


def test_tables_name_every_engine_and_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app(), [])
    assert result.exit_code == 0, result.output
    for expected in (*engine_names(), "tiny-f16.gguf", "0 stored", "load now", "cores", "memory"):
        assert expected in result.output
