"""`dyno run` and `dyno tasks` as a user types them: wrong inputs, what is printed, what a kill leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import psutil
import pytest

from backends.base import TargetError
from harness.cli.dispatch_run import RunOrder, run_task
from harness.external.command import AgentError
from harness.settings import SettingError
from harness.tasks.base import TaskError
from profiler.dispatch_store import read_dispatches
from profiler.run_names import list_runs

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "run.schema.json").read_text())
CHAIN = "toolbench/chain6-1"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "harness.cli", *words]


def dyno(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command(*words), cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"task": "nosuch", "agent": "nop"}, "no task is named 'nosuch'"),
        ({"task": "toolbench", "agent": "nop"}, "tasks begin with 'toolbench'"),
        ({}, "no engine was named"),
        ({"agent": "oracle", "target": "tiny"}, "asks no engine"),
        ({"rehearse": True, "agent": "model", "target": "tiny"}, "cannot be rehearsed"),
        ({"agent": "oracle", "harness": "focussed"}, "no setting is named 'focussed'"),
        ({"agent": "oracle", "levers": ("skills.byte=3",)}, "unknown lever of skills 'byte'"),
        ({"agent": "oracle", "levers": ("skills.bytes=many",)}, "skills.bytes = 'many'"),
        ({"agent": "oracle", "levers": ("skills.bytes",)}, "skills.bytes"),
        ({"agent": "oracle", "levers": ("task.persona=enginer",)}, "no persona is named 'enginer'"),
        ({"agent": "oracle", "levers": ("task.scope=broad",)}, "has no scope 'broad'"),
        ({"target": "tiny", "levers": ("target.ctxx=3",)}, "has no option 'ctxx'"),
        ({"target": "nosuch"}, "nosuch"),
        ({"target": "tiny", "agent": "no-such-program --print"}, "'no-such-program' is not there"),
        ({"target": "tiny", "agent": "sh -c true", "agent_env": ("A",)}, "'A' has no ="),
        ({"target": "tiny", "agent": "sh -c true", "agent_files": ("a=nosuch",)}, "nosuch cannot be read"),
    ],
)
def test_a_wrong_input_is_one_clear_error_and_starts_nothing(asked: dict[str, Any], said: str, tmp_path: Path) -> None:
    order = RunOrder(**{"task": CHAIN, **asked}, runs=tmp_path / "runs")
    with pytest.raises((TaskError, SettingError, TargetError, AgentError), match=re.escape(said)) as raised:
        run_task(order)
    assert getattr(raised.value, "hint", None)
    assert not (tmp_path / "runs").exists()


def test_an_error_is_one_line_with_a_hint_on_the_command_line(tmp_path: Path) -> None:
    done = dyno("run", CHAIN, "--agent", "oracle", "-H", "focussed", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "dyno: no setting is named 'focussed'\n      did you mean focused?\n"


def test_a_scripted_agent_without_an_engine(tmp_path: Path) -> None:
    done = dyno("run", CHAIN, "--agent", "oracle", "--json", "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert (document["outcome"]["score"], document["started"]["fidelity"]) == (1.0, "no_engine")
    shown = dyno("report", cwd=tmp_path)
    assert shown.stdout.strip().startswith("PASS  score 1.00")
    refused = dyno("fix", cwd=tmp_path)
    assert (refused.returncode, "cannot be replayed" in refused.stderr) == (2, True)
    again = dyno("report", "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == document


def test_check_exits_with_1_where_the_work_does_not_pass(tmp_path: Path) -> None:
    done = dyno("run", CHAIN, "--agent", "nop", "--check", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.strip().startswith("FAIL  score 0.00")


def waited(condition: Callable[[], bool], limit_s: float = 60.0) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def turns_in(runs: Path) -> int:
    stored = [dispatch for run in list_runs(runs) for dispatch in read_dispatches(run)[0]]
    return sum(len(dispatch.turns) for dispatch in stored)


SLOW_TASK = {
    "task.toml": "[harness]\ntools = ['bash', 'submit']\n",
    "instruction.md": "Wait.\n",
    "tests/test.sh": 'echo \'{"score": 1}\' > "$REWARD_DIR/reward.json"\n',
    "workspace/a.txt": "one\n",
    "solution/solve.sh": "true\n",
}


def slow_task(folder: Path) -> Path:
    """A task whose oracle runs quick commands, then one that lasts and leaves another in the background."""
    for name, text in SLOW_TASK.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    commands = ["true", "true", "(sleep 1234.5 &) ; sleep 1234.5"]
    steps = [{"calls": [{"name": "bash", "arguments": {"command": text}}]} for text in commands]
    (folder / "trajectories").mkdir()
    (folder / "trajectories" / "oracle.json").write_bytes(msgspec.json.encode(steps))
    return folder


def sleeping() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] == ["sleep", "1234.5"]:
            found.append(process)
    return found


@pytest.mark.engine
@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot bind a process's life to its parent's")
def test_kill_9_leaves_what_had_happened_and_no_process(tmp_path: Path) -> None:
    """In the middle of a tool call of a rehearsal, with a real llama-server."""
    task = slow_task(tmp_path / "slow")
    words = ("run", str(task), "--rehearse", "-t", "tiny", "--set", "limits.tool_s=100")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command(*words), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert waited(lambda: len(sleeping()) >= 2), "the command did not start"
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert waited(lambda: not sleeping()), "a command outlived dyno"
    assert waited(lambda: not any(child.is_running() for child in children)), "an engine outlived dyno"
    assert turns_in(tmp_path / "runs") == 2
    shown = dyno("report", "--json", cwd=tmp_path)
    document = json.loads(shown.stdout)
    assert (document["exit_status"], len(document["turns"])) == (None, 2)
    assert document["totals"]["requests"] >= 2
    assert dyno("report", cwd=tmp_path).stdout.strip().startswith("KILLED")
    assert dyno("explain", cwd=tmp_path).returncode == 0
