"""What the wheel holds, and how it starts. The wheel is built and unpacked here; nothing is installed.

The four folders are generic top-level names, which silently overwrite other wheels' files of those names
(README, "Install"): the wheel must hold these and nothing else.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HELP_CPU_SECONDS = 0.3


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


def python(*arguments: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run Python where `place` is the first to be searched for modules, away from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(place)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=place, env=environment, check=False, capture_output=True, text=True
    )


def test_top_level_names(names: list[str]) -> None:
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "backends", "profiler", "harness", "profiles",
    }  # fmt: skip


def test_every_file_of_the_folders_is_in_the_wheel(names: list[str]) -> None:
    files = {
        file.relative_to(ROOT).as_posix()
        for folder in ("backends", "profiler", "harness", "profiles")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files == {name for name in names if ".dist-info/" not in name}


@pytest.mark.parametrize(
    "pattern", ["profiles/models/tiny/*.gguf", "profiles/models/tiny/*.jinja", "profiles/sessions/*.jsonl"]
)
def test_the_data_lies_beside_the_code(installed: Path, pattern: str) -> None:
    assert list(installed.glob(pattern))
    where = "import harness, pathlib; print(pathlib.Path(harness.__file__).parent.parent)"
    assert python("-c", where, place=installed).stdout.strip() == str(installed)


def test_the_command(installed: Path) -> None:
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "dyno = harness.cli:main" in entry_points.read_text(encoding="utf-8")
    shown = python("-c", "from harness.cli import main; main()", "--help", place=installed)
    assert shown.returncode == 0, shown.stderr
    assert "cache" in shown.stdout


def test_the_license_is_in_the_wheel(names: list[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_help_is_fast() -> None:
    """CPU time, not wall time: the machine may be busy. The best of five, because the first one compiles."""

    def cpu_seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    times: list[float] = []
    for _ in range(5):
        before = cpu_seconds()
        shown = python("-c", "from harness.cli import main; main()", "--help", place=ROOT)
        assert shown.returncode == 0, shown.stderr
        times.append(cpu_seconds() - before)
    assert min(times) < HELP_CPU_SECONDS, f"import what a command needs inside the command; took {times}"


def test_the_extra_all_holds_every_engine() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"all", "dev"}
    (every,) = project["optional-dependencies"]["all"]
    assert set(every.removeprefix("llmdyno[").removesuffix("]").split(",")) == extras


def test_the_tested_versions_are_versions_alone() -> None:
    """No address, no path, no local build: the file must mean the same on every machine."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert not [pin for pin in pins if pin.count("==") != 1 or set("/@+;: ") & set(pin)]
    assert not [pin for pin in pins if pin.startswith(("torch", "llmdyno"))]
