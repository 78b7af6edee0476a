"""The commands of README and docs/ are run as they stand, on the bundled model; only names of places are filled in.

`model.gguf` is the bundled model, the example address a server started here, and `dyno cache` plays one short session
instead of all. `dyno demo` runs whole.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.workers.server_process import Options, ServerProcess
from tests.test_docs import commands

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[1]
TINY = ROOT / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
SAMPLE_RUN = "20261120-1245"
SESSION = ("--sessions", "title-call")
# In prose a command also stands for itself; what can be run has its target.
WRITTEN = sorted(
    {line for _, line in commands("dyno") if re.match(r"dyno [a-z]", line)} - {"dyno cache", "dyno cache TARGET"}
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it: a model file and a run of earlier."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "model.gguf").symlink_to(TINY)
    run(["cache", "scripted:", *SESSION], folder)
    return folder


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ServerProcess.launch(str(TINY), Options(ctx=8192, threads=1))
    yield server.url
    server.close()


def run(words: list[str], folder: Path) -> str:
    command = [sys.executable, "-m", "harness.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("line", WRITTEN)
def test_a_written_command_does_what_it_says(line: str, place: Path, address: str) -> None:
    words = [word.replace("http://127.0.0.1:8080", address) for word in shlex.split(line, comments=True)[1:]]
    if words[0] == "cache":
        # One thread: llama.cpp's threads crawl when they share a core with the rest of the tests.
        joint = "&" if "?" in words[1] else "?"
        words[1] += f"{joint}threads=1" if "model.gguf" in words[1] else ""
        words += SESSION
    stored = next((place / "runs").iterdir()).name
    out = run([stored if word == SAMPLE_RUN else word for word in words], place)
    if words[0] in ("cache", "demo", "report") and "--json" not in words:
        assert out.split()[0] in ("STABLE", "UNSTABLE", "CANNOT")
    assert out.strip()
