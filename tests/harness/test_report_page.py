"""`dyno report --html` as a user types it: where the page goes, what it is of, and what is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli.report import report
from harness.cli.report_run import stored_of
from profiler.run_files import StoreError
from profiler.run_names import UnknownRun

for package in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(package)

ROOT = Path(__file__).parents[2]


def dyno(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "harness.cli", *words]
    return subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache run, a dispatch without an engine, and an experiment, made in this order."""
    folder = tmp_path_factory.mktemp("user")
    for words in (
        ["cache", "scripted:", "-s", "clock-in-system-prompt"],
        ["run", "toolbench/chain2-1", "--agent", "oracle"],
        ["ab", "plain", "focused", "--tasks", "toolbench/chain2-1", "--agent", "oracle", "--blocks", "1"],
    ):
        done = dyno(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def shown(place: Path, capsys: pytest.CaptureFixture[str], run: str = "latest", **further: Any) -> str:
    """What `dyno report` prints, in this process: the library is bundled once."""
    report(run, place / "runs", **further)
    return capsys.readouterr().out


def test_the_page_of_a_cache_run_lies_in_its_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = min((place / "runs").iterdir())
    said = shown(place, capsys, run.name, html=True)
    assert said.startswith(("STABLE", "UNSTABLE", "CANNOT TELL"))
    assert f"page: {run / 'report.html'}" in said
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "P1 a date, time, path" in page
    assert page.count('<template id="loss-') == 11


def test_a_dispatch_without_an_engine_has_a_page_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sorted((place / "runs").iterdir())[1]
    assert shown(place, capsys, run.name, out=place / "page.html").startswith("PASS")
    page = (place / "page.html").read_text(encoding="utf-8")
    assert "toolbench/chain2-1: turn by turn" in page
    assert 'id="cache-map"' not in page


def test_the_latest_may_be_an_experiment(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(place, capsys, html=True, png=place / "pictures")
    assert said.startswith("CANNOT TELL")
    page = (max((place / "runs").iterdir()) / "report.html").read_text(encoding="utf-8")
    assert "focused against plain" in page
    pictures = {file.name for file in (place / "pictures").iterdir()}
    assert pictures == {f"{name}.{form}" for name in ("task-map", "points") for form in ("png", "svg")}
    assert shown(place, capsys).strip().startswith("CANNOT TELL")


def test_what_is_neither_is_told_as_a_run(place: Path) -> None:
    with pytest.raises(UnknownRun, match="no run 'nothing'"):
        stored_of(place / "runs", "nothing")


def test_a_page_that_can_not_be_written_is_told_with_its_place(place: Path) -> None:
    with pytest.raises(StoreError, match="cannot write the page"):
        report("latest", place / "runs", out=place / "no" / "page.html")
