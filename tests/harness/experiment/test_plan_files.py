"""Plans as files: each wrong one is one clear line, and each one that comes with dyno can be used."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.experiment.plan import PlanError
from harness.experiment.plan_files import list_plans, read_plan
from harness.experiment.plan_words import arm_of_word, checked, tasks_of_words
from harness.settings import SettingError, difference
from harness.tasks.base import TaskError

GOOD = """
schema = 1
title = "two"
tasks = ["toolbench:2", "debug/todo-1"]
blocks = 3
target = "tiny"

[arms.a]
setting = "plain"

[arms.b]
setting = "plain"
set = { "skills.bytes" = 9000, "scaffolding.todo" = true, "skills.files" = ["a.md", "b.md"] }
target = "tiny-one-slot"
agent_env = { X = "1" }
"""


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return str(file)


def test_a_plan_is_what_its_file_says(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, GOOD), {})
    assert (plan.title, plan.blocks, plan.dispatches) == ("two", 3, 18)
    assert [task.name for task in plan.tasks] == ["toolbench/select-1", "toolbench/select-2", "debug/todo-1"]
    assert all(len(task.sha256) == 64 and task.limit_s for task in plan.tasks)
    a, b = plan.arms
    assert (a.target, b.target, b.agent_env) == ("tiny", "tiny-one-slot", ("X=1",))
    assert difference(a.setting, b.setting) == {
        "skills.bytes": (0, 9000), "skills.files": ("", "a.md,b.md"), "scaffolding.todo": (False, True)
    }  # fmt: skip
    assert b.setting_name == "plain skills.bytes=9000 scaffolding.todo=true skills.files=a.md,b.md"


def test_what_is_typed_takes_the_place_of_what_is_written(tmp_path: Path) -> None:
    typed = {"tasks": ["toolbench/select-3"], "blocks": 1, "target": "scripted:", "seed": 4}
    plan = read_plan(written(tmp_path, GOOD), typed)
    assert ([task.name for task in plan.tasks], plan.blocks, plan.seed) == (["toolbench/select-3"], 1, 4)
    assert [arm.target for arm in plan.arms] == ["scripted:", "tiny-one-slot"]


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("title", "titel", PlanError, "unknown key 'titel'"),
        ("[arms.a]\nsetting", "[arms.a]\nseting", PlanError, r"\[arms.a\] has an unknown key 'seting'"),
        ("blocks = 3", "blocks = 0", PlanError, "blocks"),
        ("blocks = 3", "blocks = 'x'", PlanError, "blocks"),
        ("schema = 1", "schema = 7", PlanError, "schema 7"),
        ("schema = 1", "schema = ", PlanError, "line 2"),
        ("blocks = 3", "cache = 'hot'", PlanError, "'hot'"),
        ("blocks = 3", "margin = 2.0", PlanError, "margin"),
        ("tasks =", "# tasks =", PlanError, "no field tasks|it has no"),
        ("toolbench:2", "toolbench:99", PlanError, "is no number of tasks"),
        ("toolbench:2", "debug:1", PlanError, "named twice"),
        ("toolbench:2", "tolbench/select-1", TaskError, "tolbench/select-1"),
        ("skills.bytes", "skills.byte", SettingError, "skills.byte"),
        ('"plain"\nset', '"plian"\nset', SettingError, "plian"),
        ("= 9000", "= 'many'", SettingError, "Expected int"),
    ],
)
def test_a_wrong_plan_is_one_clear_line(tmp_path: Path, old: str, new: str, error: Any, said: str) -> None:
    assert old in GOOD
    with pytest.raises(error, match=said) as raised:
        read_plan(written(tmp_path, GOOD.replace(old, new, 1)), {})
    assert "\n" not in str(raised.value)
    assert getattr(raised.value, "hint", None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": 1}, "two arms"),
        ({"fidelity": "simulate", "primary": "wall_s"}, "a simulation tells no wall_s"),
        ({"same": True}, "two arms are named"),
    ],
)
def test_a_plan_that_cannot_be_done_is_told_before_anything_starts(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    text = GOOD.partition("[arms.b]")[0] if "arms" in changes else GOOD
    typed = {"tasks": ["toolbench/select-1"]} | {k: v for k, v in changes.items() if k in ("fidelity", "primary")}
    plan = read_plan(written(tmp_path, text), typed)
    if "same" in changes:
        plan = type(plan)(plan.title, (plan.arms[0],) * 2, plan.tasks)
    with pytest.raises(PlanError, match=said):
        checked(plan)


def test_a_plan_that_is_simulated_declares_what_a_simulation_tells(tmp_path: Path) -> None:
    text = GOOD.replace("blocks = 3\n", "")
    plan = read_plan(written(tmp_path, text), {"fidelity": "simulate", "tasks": ["toolbench/select-1"]})
    assert (plan.primary, plan.guards, plan.blocks) == ("evaluated_tokens", (), 1)


def test_early_stopping_is_declared_in_the_plan(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("blocks = 3", "blocks = 3\nstop_early = true"))
    assert read_plan(path, {}).stop_early
    assert not read_plan(path, {"stop_early": False}).stop_early


def test_no_such_plan_names_the_nearest() -> None:
    with pytest.raises(PlanError, match="no plan is named") as raised:
        read_plan("scafolding", {})
    assert raised.value.hint == "did you mean scaffolding?"


@pytest.mark.parametrize("path", list_plans(), ids=lambda path: path.stem)
def test_a_plan_that_comes_with_dyno_can_be_used(path: Path) -> None:
    words = tomllib.loads(path.read_text())["tasks"]
    pack, _, _ = words[0].partition(":")
    plan = checked(read_plan(str(path), {"tasks": [pack if "/" in pack else f"{pack}:1"]}))
    assert len(plan.arms) >= 2
    assert plan.title
    assert sum(1 if "/" in word else int(word.partition(":")[2] or 6) for word in words) >= 6


def test_an_arm_as_it_is_typed() -> None:
    arm = arm_of_word("plain,skills.bytes=9000,scaffolding.todo=on@tiny", "other", "oracle")
    assert (arm.target, arm.agent, arm.setting.skills.bytes, arm.setting.scaffolding.todo) == (
        "tiny", "oracle", 9000, True,
    )  # fmt: skip
    assert arm_of_word("focused", "other", None).target == "other"


def test_a_task_of_ones_own_goes_by_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "workspace").mkdir(parents=True)
    (folder / "task.toml").write_text("[harness]\ntools = ['submit']\n")
    (folder / "instruction.md").write_text("Wait.\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "test.sh").write_text("true\n")
    (folder / "solution").mkdir()
    (folder / "solution" / "solve.sh").write_text("true\n")
    (planned,) = tasks_of_words([str(folder)], 0)
    assert planned.name == str(folder.resolve())
