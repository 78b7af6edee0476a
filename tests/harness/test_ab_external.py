"""The plan that compares the built-in agent with another one, as it comes: run against the bundled model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.experiment.plan_files import BUNDLED, read_plan
from tests.harness.test_ab_command import dyno

TASK = "toolbench/select-1"


def test_the_agents_file_is_found_beside_the_plan() -> None:
    plan = read_plan("native-or-external", {"tasks": [TASK], "target": "tiny"})
    (given,) = plan.arm("other").agent_files
    name, _, path = given.partition("=")
    assert name == "agent.py"
    assert Path(path).is_absolute()
    assert "urllib" in Path(path).read_text()


@pytest.mark.engine
def test_a_native_and_an_external_agent_on_one_real_engine(tmp_path: Path) -> None:
    """As it comes, but with a short prompt for the one and few turns for the other."""
    agent = (BUNDLED / "small-agent.py.txt").read_text()
    assert "TURNS, TOKENS, SHOWN = 30," in agent
    (tmp_path / "small-agent.py.txt").write_text(agent.replace("SHOWN = 30,", "SHOWN = 3,"))
    plan = tmp_path / "mine.toml"
    plan.write_text((BUNDLED / "native-or-external.toml").read_text().replace('"focused"', '"plain"'))
    words = ("--tasks", TASK, "--blocks", "1", "--target", "tiny", "--pauses", "0", "--json")
    done = dyno("ab", str(plan), *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["done"], document["status"]) == (2, "complete")
    other = next(point for point in document["points"] if point["arm"] == "other")
    assert other["exit_status"] == "stopped"
    assert 1 <= other["measures"]["turns"] <= 3
    assert other["measures"]["evaluated_tokens"] > 50
    run = tmp_path / "runs" / document["experiment"] / other["run"]
    (log,) = run.glob(f"**/{other['dispatch_id']}/agent.log")
    assert "Traceback" not in log.read_text()
    assert document["notes"] == []
    assert document["comparisons"][0]["parts"][0]["part"] == "whole"
