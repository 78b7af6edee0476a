"""`dyno ab` and `dyno aa` as a user types them: wrong inputs, what is printed, what a kill leaves, how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from backends.base import TargetError
from harness.cli import app
from harness.experiment.plan import PlanError
from harness.experiment.store import find_experiment, read_experiment
from harness.settings import SettingError
from harness.tasks.base import TaskError
from tests.schema_file import DOCS

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((DOCS / "ab.schema.json").read_text())
SMALL = ("--tasks", "toolbench/chain2-1,toolbench/select-1", "--agent", "oracle")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "harness.cli", *words]


def dyno(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command(*words), cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=240
    )


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["plain", *SMALL], PlanError, "alone is no comparison"),
        (["scafolding", *SMALL], SettingError, "no setting is named 'scafolding'"),
        (["plain", "focussed", *SMALL], SettingError, "no setting is named 'focussed'"),
        (["plain", "plain,skills.byte=3", *SMALL], SettingError, "skills.byte"),
        (["plain", "plain", *SMALL], PlanError, "two arms are named plain"),
        (["plain", "focused", "--agent", "oracle"], PlanError, "no task is named"),
        (["plain", "focused", "--tasks", "toolbench:99", "--agent", "oracle"], PlanError, "is no number of tasks"),
        (["plain", "focused", *SMALL, "--primary", "speed"], PlanError, "no metric 'speed'"),
        (["plain", "focused", "--tasks", "toolbench:2"], TargetError, "no engine was named"),
        (["plain", "focused@tiny", *SMALL], TaskError, "asks no engine"),
        (["--resume", "latest"], PlanError, "no experiment 'latest'"),
        (["plain", "focused", *SMALL, "--stop-early"], PlanError, "4 pairs are too few to be decided"),
    ],
)
def test_a_wrong_input_is_one_clear_line_and_starts_nothing(
    words: list[str], error: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said) as raised:
        app(["ab", *words], standalone_mode=False)
    assert "\n" not in str(raised.value)
    assert raised.value.hint
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "runs").exists()


def test_a_wrong_plan_ends_with_usage(tmp_path: Path) -> None:
    done = dyno("ab", "plain", *SMALL, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dyno: 'plain' alone is no comparison")


def test_the_plan_alone_runs_nothing(tmp_path: Path) -> None:
    done = dyno("ab", "plain", "focused", "--tasks", "debug", "--agent", "oracle", "--plan", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 tasks × 2 blocks × 2 arms = 24 dispatches" in done.stderr
    assert "it can detect a change of 20 % or more" in done.stderr
    assert "12 pairs cannot show that success falls by no more than 10 points, even if nothing fails" in done.stderr
    assert "that takes 25 (5 blocks, or 13 tasks)" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_kill_9_in_the_middle_and_resume_repeats_nothing_and_loses_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = ("ab", "plain", "plain,calls.output_bytes=2000", *SMALL, "--seed", "3")
    with subprocess.Popen(
        command(*words), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[3/8]"):
                process.send_signal(signal.SIGKILL)
                break
    before = read_experiment(find_experiment(tmp_path / "runs", "latest"))
    assert 3 <= sum(not one.begun.warm_up for one in before.done) < 8
    done = dyno("ab", "--resume", "latest", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert (document["status"], document["done"], document["planned"]) == ("complete", 8, 8)
    assert Counter(point["order"] for point in document["points"]) == {order: 1 for order in range(8)}
    assert [arm["passed"] for arm in document["arms"]] == [4, 4]
    shown = dyno("ab", "--resume", document["experiment"][:12], "--json", cwd=tmp_path)
    assert json.loads(shown.stdout) == document


def test_an_experiment_that_ends_early_ends_as_early_when_it_was_killed(tmp_path: Path) -> None:
    hostile = "plain,prompt.volatile=counter"
    words = ("ab", "plain", hostile, "--tasks", "toolbench:10", "--simulate", "--stop-early", "--seed", "3")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command(*words), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[6/20]"):
                process.send_signal(signal.SIGKILL)
                break
    done = dyno("ab", "--resume", "latest", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{hostile} is decided after 8 pairs, for the worse: 0 won, 8 lost; it is run no more" in done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert (document["status"], document["done"], document["not_needed"]) == ("stopped", 16, 4)
    (row,) = document["comparisons"]
    assert (row["word"], row["sequential"]["decided_order"]) == ("worse", 15)
    again = dyno("ab", "--resume", "latest", "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == document


def test_ctrl_c_reports_what_there_is(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command("aa", "plain", *SMALL), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[2/8]"):
                time.sleep(0.1)
                process.send_signal(signal.SIGINT)
                break
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "dispatches are done: dyno aa --resume" in out
    assert "the same arm twice" in out


@pytest.mark.engine
def test_real_dispatches_of_the_bundled_model(tmp_path: Path) -> None:
    """A lever that the model cannot help but feel: with one turn allowed, nothing that takes two can be done."""
    plan = tmp_path / "one-turn.toml"
    plan.write_text(
        'tasks = ["toolbench/select-1", "toolbench/select-2"]\nblocks = 1\ntarget = "tiny"\npauses = 0\n'
        '[arms.plain]\nsetting = "plain"\nset = { "limits.turns" = 4 }\n'
        '[arms.one-turn]\nsetting = "plain"\nset = { "limits.turns" = 1 }\n'
    )
    done = dyno("ab", str(plan), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert (document["done"], document["fidelity"]) == (4, "dispatch")
    turns = {point["arm"]: point["measures"]["turns"] for point in document["points"]}
    assert turns["one-turn"] == 1
    assert next(arm for arm in document["arms"] if arm["name"] == "one-turn")["passed"] == 0
    assert all(point["measures"]["evaluated_tokens"] for point in document["points"])
    assert document["comparisons"][0]["parts"][0]["part"] == "whole"
