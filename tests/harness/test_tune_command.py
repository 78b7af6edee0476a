"""`dyno tune` as a user types it: wrong inputs, the plan, what a kill and Ctrl-C leave, the setting that it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from backends.base import TargetError
from harness.cli import app
from harness.experiment.plan import PlanError
from harness.experiment.store import read_experiment
from harness.settings import SettingError, levers, read_setting
from harness.tune.document import TuneDocument
from harness.tune.plan_files import list_tunings, read_tuning
from tests.schema_file import DOCS, check_schema_file

ROOT = Path(__file__).parents[2]
VARY = ("--vary", "prompt.volatile=none,clock")
TASKS = ("--tasks", "toolbench/select-1,toolbench/select-2", "--held-out", "toolbench/chain2-1,toolbench/chain2-2")
SIMULATED = ("-t", "simulated", "--rehearse")
HOSTILE = 'schema = 1\ntitle = "a clock first"\n[task]\npersona = ""\n[prompt]\nvolatile = "clock"\n'


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "harness.cli", "tune", *words]


def environment(cwd: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(cwd / "config")}


def dyno(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=cwd, env=environment(cwd), check=False, capture_output=True, text=True, timeout=400
    )


def stop_at(line_start: str, number: signal.Signals, *words: str, cwd: Path) -> tuple[int, str]:
    """Run until a line, send a signal, and give the exit code and what was printed."""
    with subprocess.Popen(
        command(*words), cwd=cwd, env=environment(cwd), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(line_start):
                process.send_signal(number)
                break
        out, _ = process.communicate(timeout=100)
    return process.returncode, out


def test_the_schema_file_is_current() -> None:
    check_schema_file("tune", TuneDocument)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["plain", *TASKS, *SIMULATED], PlanError, "no lever is varied"),
        (["plain", "--vary", "prompt.volatile=none", *TASKS, *SIMULATED], PlanError, "has one level alone"),
        (["plain", "--vary", "prompt.volatil=a,b", *TASKS, *SIMULATED], SettingError, "--vary prompt.volatil"),
        (["plain", "--vary", "target.slotz=1,2", *TASKS, "-t", "tiny"], TargetError, "has no option 'slotz'"),
        (["plain", "--vary", "target.slots=1,many", *TASKS, "-t", "tiny"], TargetError, "target.slots=many"),
        (["plan", *VARY, *TASKS, *SIMULATED], SettingError, "no setting is named 'plan'"),
        (["plain", *VARY, *SIMULATED], PlanError, "no task is named"),
        (["plain", *VARY, *TASKS], TargetError, "no engine was named"),
        (["plain", *VARY, *TASKS, *SIMULATED, "--primary", "speed"], PlanError, "no metric 'speed'"),
        (["plain", *VARY, *TASKS, *SIMULATED, "--exclude", "prompt.volatile"], PlanError, "is no lever and value"),
        (["plain", *VARY, *TASKS, *SIMULATED, "--exclude", "prompt.volatile=none"], PlanError, "is excluded"),
        (["plain", *VARY, *TASKS[:3], "toolbench/select-1", *SIMULATED], PlanError, "a task to tune on and held out"),
        (["--resume", "latest"], PlanError, "no tuning 'latest'"),
    ],
)
def test_a_wrong_input_is_one_clear_line_and_starts_nothing(
    words: list[str], error: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said) as raised:
        app(["tune", *words], standalone_mode=False)
    assert "\n" not in str(raised.value)
    assert raised.value.hint
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "runs").exists()


def test_the_plan_alone_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    app(["tune", "cache-levers", "--plan"], standalone_mode=False)
    said, _ = capsys.readouterr()
    assert "216 combinations of 6 levers, 144 that can be run and are not the same" in said
    assert "with its fold-over, 16 runs × 1 tasks" in said
    assert "at most 74 dispatches" in said
    assert not (tmp_path / "runs").exists()


def test_the_bundled_plans_can_be_read() -> None:
    assert {path.stem for path in list_tunings()} >= {"cache-levers"}
    assert all(read_tuning(path).vary for path in list_tunings())


def test_kill_9_and_resume_repeat_nothing_and_the_setting_is_written_once(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(HOSTILE)
    words = ("mine.toml", *VARY, "--vary", "prompt.tool_order=fixed,shuffled", *TASKS, *SIMULATED)
    stop_at("[03-screen 3/", signal.SIGKILL, *words, cwd=tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    before = read_experiment(folder / "03-screen").done
    done = dyno("--resume", "latest", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads((DOCS / "tune.schema.json").read_text()))
    after = read_experiment(folder / "03-screen").done
    assert [one.ended for one in after[: len(before)]] == [one.ended for one in before]
    assert len({(one.begun.arm, one.begun.task) for one in after if not one.begun.warm_up}) == 8
    assert (document["status"], document["chosen"]) == ("complete", "tuned")
    assert "prompt.volatile=none is better than current" in document["verdict"]
    (effect,) = (row for row in document["effects"] if row["lever"] == "prompt.volatile")
    assert (effect["better"], effect["mixed_with"]) == ("none", [])
    written = Path(document["file"])
    assert written == tmp_path / "config" / "dyno" / "harness" / "tuned.toml"
    values = levers(read_setting(written))
    assert (values["prompt.volatile"], values["prompt.tool_order"], values["task.persona"]) == ("none", "fixed", "")
    assert "# time_to_success_s on held-out tasks: × " in written.read_text()
    shown = dyno("--resume", document["tuning"][:12], "--json", cwd=tmp_path)
    assert json.loads(shown.stdout) == document
    assert len(list(written.parent.iterdir())) == 1


def test_ctrl_c_reports_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(HOSTILE)
    code, out = stop_at("[05-race-1 1/", signal.SIGINT, "mine.toml", *VARY, *TASKS, *SIMULATED, cwd=tmp_path)
    assert code == 130
    assert "not finished" in out
    assert "main effects on time_to_success_s" in out
    assert not (tmp_path / "config").exists()


@pytest.mark.slow
@pytest.mark.engine
def test_a_clock_is_found_on_llama_server(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(HOSTILE)
    words = ("mine.toml", *VARY, "--vary", "target.slots=1,2", "--primary", "evaluated_tokens", "--pauses", "0")
    stop_at("[05-race-1 2/", signal.SIGKILL, *words, *TASKS, "-t", "tiny", "--rehearse", cwd=tmp_path)
    done = dyno("--resume", "latest", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["simulated"] == 6
    assert document["chosen"] == "tuned"
    values = levers(read_setting(Path(document["file"])))
    assert values["prompt.volatile"] == "none"
    assert "target.slots" not in values
