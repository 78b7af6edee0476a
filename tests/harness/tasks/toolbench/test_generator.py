"""Toolbench's task folders: built alike from the same seed, complete, and scored as they declare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.tasks.base import AGENTS, ScriptedAgent, Task, TaskError
from harness.tasks.folder import folder_sha256
from harness.tasks.registry import list_packs, materialise, trajectory
from harness.tasks.toolbench.generator import build, question_of
from harness.tasks.toolbench.questions import KINDS, TIERS
from harness.tasks.toolbench.tools import make_tools
from harness.tasks.toolbench.verifier import score

PACK = next(pack for pack in list_packs() if pack.id == "toolbench")


def played(task: Task, agent: ScriptedAgent, ledger: Path) -> Path:
    """The ledger after a scripted agent's calls."""
    ledger.touch()
    tools = {tool.name: tool for tool in make_tools(task, task.folder / "workspace", ledger)}
    for step in trajectory(task, agent, "bounded"):
        for call in step.calls:
            tools[call.name].run(call.arguments)
    return ledger


def verified(task: Task, ledger: Path | None, place: Path) -> dict[str, Any]:
    """What the task's own `tests/test.sh` writes for a ledger."""
    place.mkdir()
    environment = {**os.environ, "PYTHON": sys.executable, "TASK_DIR": str(task.folder), "REWARD_DIR": str(place)}
    environment |= {"HIDDEN": str(task.folder / "hidden"), **({"LEDGER": str(ledger)} if ledger else {})}
    subprocess.run(["sh", str(task.folder / "tests" / "test.sh")], env=environment, check=True, timeout=30)
    reward: dict[str, Any] = json.loads((place / "reward.json").read_text())
    return reward


def test_the_pack_has_at_least_six_instances_of_each_kind_and_their_tiers() -> None:
    kinds = [name.rpartition("-")[0] for name in PACK.instances]
    assert all(kinds.count(kind) >= 6 for kind in KINDS)
    assert {name.rpartition("-")[0] for name in PACK.held_out} == set(KINDS)
    assert PACK.difficulty == {name: TIERS[kind] for kind in KINDS for name in PACK.instances if name.startswith(kind)}


@pytest.mark.parametrize("instance", PACK.instances)
def test_the_scripted_agents_get_what_the_task_declares(instance: str, tmp_path: Path) -> None:
    task = materialise(f"toolbench/{instance}", 0, tmp_path / "task")
    expected = json.loads((task.folder / "hidden" / "expected.json").read_text())
    for agent in AGENTS:
        rows = [json.loads(line) for line in played(task, agent, tmp_path / agent).read_text().splitlines()]
        assert score(rows, expected)["score"] == (1.0 if agent == "oracle" else 0.0), agent
    assert folder_sha256(task.folder) == task.sha256
    assert (task.difficulty, task.held_out) == (PACK.difficulty[instance], instance in PACK.held_out)


def test_the_verifier_says_the_same_three_times_and_nothing_without_a_ledger(tmp_path: Path) -> None:
    task = materialise("toolbench/chain4-1", 0, tmp_path / "task")
    ledger = played(task, "oracle", tmp_path / "ledger")
    rewards = [verified(task, ledger, tmp_path / f"reward-{number}") for number in range(3)]
    assert rewards[0] == rewards[1] == rewards[2]
    assert rewards[0]["score"] == 1.0
    assert verified(task, None, tmp_path / "none")["score"] == 0.0


def test_the_solutions_script_leaves_a_solved_ledger(tmp_path: Path) -> None:
    task = materialise("toolbench/arguments-2", 0, tmp_path / "task")
    environment = {**os.environ, "LEDGER": str(tmp_path / "ledger")}
    subprocess.run(["sh", str(task.folder / "solution" / "solve.sh")], env=environment, check=True, timeout=30)
    assert verified(task, tmp_path / "ledger", tmp_path / "reward")["score"] == 1.0


def test_the_same_seed_builds_the_same_folder_and_another_one_does_not(tmp_path: Path) -> None:
    hashes = []
    for number, seed in enumerate((0, 0, 1)):
        build("select-3", seed, tmp_path / str(number))
        hashes.append(folder_sha256(tmp_path / str(number)))
    assert hashes[0] == hashes[1] != hashes[2]


def test_no_two_instances_ask_the_same() -> None:
    questions = [question_of(instance, seed) for instance in PACK.instances for seed in range(4)]
    assert len({(question.text, question.answer) for question in questions}) == len(questions)


def test_the_world_is_not_in_what_the_agent_sees(tmp_path: Path) -> None:
    task = materialise("toolbench/chain6-1", 0, tmp_path / "task")
    question = question_of("chain6-1", 0)
    seen = [path.read_text() for path in (task.folder / "workspace").iterdir()]
    assert all(question.answer not in text for text in (*seen, (task.folder / "instruction.md").read_text()))
    assert (task.folder / "instruction.md").read_text() == question.instruction


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no kind 'chain'"):
        build("chain-3", 0, tmp_path / "task")
