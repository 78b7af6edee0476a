"""The commands of README and docs/ are run as they stand, on the bundled model; only names of places are filled in.

`model.gguf` and `FOLDER` are the bundled model, the example address is a llama-server started here, and `dyno cache`
plays one short session instead of all. `dyno demo` runs whole. Commands for programs that are not here are skipped.
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
from harness.session_maker.generator import fewest_turns, generate
from harness.sessions import write_session
from profiler.dispatch_store import holds_dispatches
from tests.test_docs import commands
from tests.tiny_model.export import write_hf_folder

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[1]
TINY = ROOT / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
SAMPLE_RUN = "20261120-1245"
SESSION = ("--sessions", "short.jsonl")
NEEDS_ANOTHER_PROGRAM = (
    "lmstudio:", "ollama:", "vllm:", "sglang:", "llama-swap:", "host.example", "my-agent", "sh pi.sh",
)  # fmt: skip
NEEDS_ITS_OWN_SERVER = ("llama-cpp-server:http", "mlx-server:http")
SKETCH = re.compile("…|<[a-z]+>|runs/ID|dyno run TASK")
LONG_TASK, SHORT_TASK = "debug/todo-1", "toolbench/chain2-1"
# In prose a command also stands for itself; what can be run has its target.
WRITTEN = sorted(
    # Experiments are many dispatches: tests/harness/test_ab_command.py runs small ones. `compare` takes two runs that
    # can be compared: tests/harness/test_history_command.py has such.
    {line for _, line in commands("dyno") if re.match(r"dyno (?!ab|aa|compare)[a-z]", line) and not SKETCH.search(line)}
    # MLX, slow on a CPU, is run once, with a setting.
    - {
        "dyno run",
        "dyno export",
        "dyno cache",
        "dyno cache TARGET",
        "dyno cache mlx:FOLDER",
        "dyno template",
        "dyno template TARGET",
        "dyno quant",
        "dyno tune",
        "dyno tune SETTING",
        "dyno quant FILES --machine NAME",
    }
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it: model files, a session and a run of earlier."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "model.gguf").symlink_to(TINY)
    write_hf_folder(TINY, folder / "FOLDER")
    session = generate("title-call", seed=1, turns=fewest_turns("title-call"), scale=0.1)
    write_session(session, folder / "short.jsonl")
    clock = generate("clock-in-system-prompt", seed=1, turns=fewest_turns("clock-in-system-prompt"), scale=0.1)
    write_session(clock, folder / "clock.jsonl")
    run(["run", SHORT_TASK, "--agent", "oracle"], folder)
    run(["cache", "llama-server:model.gguf?ctx=8192&threads=1", *SESSION, "--sessions", "clock.jsonl"], folder)
    return folder


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ServerProcess.launch(str(TINY), Options(ctx=8192, threads=1))
    yield server.url
    server.close()


def run(words: list[str], folder: Path) -> str:
    command = [sys.executable, "-m", "harness.cli", *words]
    # What a command keeps for the user goes there, not into the folder of whoever runs the tests.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder / "config")}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=400
    )
    # A gate that finds something says so by 1; the run that it is shown has a clock in its system prompt.
    assert done.returncode in ((0, 1) if words[0] == "check" else (0,)), done.stderr
    return done.stdout


@pytest.mark.parametrize("line", WRITTEN)
def test_a_written_command_does_what_it_says(line: str, place: Path, address: str) -> None:
    if any(mark in line for mark in (*NEEDS_ANOTHER_PROGRAM, *NEEDS_ITS_OWN_SERVER)):
        pytest.skip("needs a server that is not started here")
    if "mlx" in line:
        pytest.importorskip("mlx.core")
    words = [
        re.sub(r"http://127\.0\.0\.1:(8080|8000)(#my-model)?", address, word)
        for word in shlex.split(line, comments=True)[1:]
    ]
    if words[0] == "cache":
        # One thread: llama.cpp's threads crawl when they share a core with the rest of the tests.
        joint = "&" if "?" in words[1] else "?"
        words[1] += f"{joint}threads=1" if "model.gguf" in words[1] else ""
        words += SESSION
    stored = min(path.name for path in (place / "runs").iterdir() if not holds_dispatches(path))
    if words[0] == "run":
        names = {"TASK": SHORT_TASK, LONG_TASK: SHORT_TASK, "T": "tiny"}
        words = [names.get(word, word) for word in words]
    if words[0] == "fix":
        # The latest run may be one that `fix` made.
        words = [words[0], stored, *(word for word in words[1:] if word not in ("latest", SAMPLE_RUN))]
    out = run([stored if word == SAMPLE_RUN else word for word in words], place)
    if words[0] in ("cache", "demo", "report") and "--json" not in words:
        assert out.split()[0] in ("STABLE", "UNSTABLE", "CANNOT", "PASS", "FAIL")
    if words == ["demo"]:
        # Last, so that it is the run that `dyno explain` takes.
        assert out.index("PASS") < out.index("prefill lost to P1") < out.index("reused")
    assert out.strip() or words[0] == "export"
