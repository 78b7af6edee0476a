"""What every pack holds: the same seed gives the same bytes, and its four scripted agents behave as it declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.tasks.base import AGENTS
from harness.tasks.registry import Pack, list_packs, materialise
from tests.harness.tasks.bare_sandbox import BareSandbox
from tests.harness.tasks.pack_checks import check_agents, check_verifier

PACKS = list_packs()
INSTANCES = [f"{pack.id}/{instance}" for pack in PACKS for instance in pack.instances]
CHECKED_APART = {"testgap": "a verification runs 24 mutants: its own tests do it with four"}


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.id)
def test_a_pack_has_enough_instances_and_some_are_held_out(pack: Pack) -> None:
    assert len(pack.instances) >= 6, "statistics are by task"
    assert 0 < len(pack.held_out) <= len(pack.instances) - 4


@pytest.mark.parametrize("name", INSTANCES)
def test_a_seed_gives_the_same_bytes_and_another_one_another_task(name: str, tmp_path: Path) -> None:
    first, again, other = (materialise(name, seed, tmp_path / str(n)) for n, seed in enumerate((7, 7, 8)))
    assert first.sha256 == again.sha256 != other.sha256
    assert {*AGENTS} <= {file.name.partition(".")[0] for file in (first.folder / "trajectories").iterdir()}


@pytest.mark.parametrize("name", INSTANCES)
def test_a_workspace_has_no_trace_of_the_solution(name: str, tmp_path: Path) -> None:
    workspace = materialise(name, 7, tmp_path / "task").folder / "workspace"
    names = [path.name for path in workspace.rglob("*")]
    assert not [name for name in names if name.startswith(".git") or name.endswith((".orig", ".rej", ".bak", ".pyc"))]
    assert not [name for name in names if "solution" in name or name == "hidden"]


@pytest.mark.parametrize("name", [f"{pack.id}/{pack.instances[0]}" for pack in PACKS if pack.id not in CHECKED_APART])
def test_the_scripted_agents_of_the_first_instance(name: str, tmp_path: Path) -> None:
    check_agents(materialise(name, 7, tmp_path / "task"), tmp_path, BareSandbox(), thorough=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTANCES)
def test_the_scripted_agents_of_every_instance(name: str, tmp_path: Path) -> None:
    task = materialise(name, 3, tmp_path / "task")
    check_agents(task, tmp_path, BareSandbox())
    check_verifier(task, tmp_path, BareSandbox())
