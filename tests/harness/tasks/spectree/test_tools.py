"""The pack's tools: their schemas, their answers, and the ledger of their calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.tasks.base import Task
from harness.tasks.registry import materialise
from harness.tasks.spectree.tools import make_tools, specification_tools

NAMES = (
    "read list grep create_goal update_goal delete_goal create_feature update_feature delete_feature "
    "create_requirement update_requirement delete_requirement write_vision write submit"
).split()


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return materialise("spectree/habits-1", 7, tmp_path_factory.mktemp("spectree") / "task")


def test_the_tools_and_their_order(task: Task, tmp_path: Path) -> None:
    tools = make_tools(task, tmp_path, None)
    assert [tool.name for tool in tools] == NAMES
    assert [tool.name for tool in tools if tool.effect == "edit"] == [*NAMES[3:13], "write"]
    for tool in tools:
        function = tool.schema["function"]
        assert function["name"] == tool.name
        assert set(function["parameters"]["required"]) <= set(function["parameters"]["properties"])


def test_calls_and_whether_they_did_it_are_noted(task: Task, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    tools = {tool.name: tool for tool in make_tools(task, tmp_path / "space", ledger)}
    made = tools["create_goal"].run({"title": "Größe", "body": "Why."})
    assert made.text == "Created G-001: speclan/goals/G-001-gr-e.md"
    assert made.changed == ("speclan/goals/G-001-gr-e.md",)
    missed = tools["create_requirement"].run({"title": "X", "parent": "G-001"})
    assert not missed.ok
    assert missed.text == "Error: G-001 is no feature; there are: none yet"
    assert tools["submit"].run({"message": "done"}).finished
    assert [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()] == [
        {"name": "create_goal", "arguments": {"title": "Größe", "body": "Why."}, "ok": True},
        {"name": "create_requirement", "arguments": {"title": "X", "parent": "G-001"}, "ok": False},
        {"name": "submit", "arguments": {"message": "done"}, "ok": True},
    ]
    assert not (tmp_path / "space" / "ledger.jsonl").exists()


def test_a_wrong_feature_is_deleted_and_made_anew(tmp_path: Path) -> None:
    tools = {tool.name: tool for tool in specification_tools(tmp_path)}
    tools["create_goal"].run({"title": "Why", "body": "Because."})
    tools["create_feature"].run({"title": "Wrong", "parent": "G-001", "body": "No."})
    assert tools["delete_feature"].run({"id": "F-0001"}).text == (
        "Deleted F-0001: speclan/features/F-0001-wrong/F-0001-wrong.md"
    )
    assert tools["create_feature"].run({"title": "Right", "parent": "G-001", "body": "Yes."}).ok
    assert tools["update_feature"].run({"id": "F-0002", "status": "review"}).text.startswith("Updated F-0002: ")
    assert tools["write_vision"].run({"body": "All."}).text == "Wrote vision: speclan/vision.md"
