"""Toolbench's tools on built tasks: the oracle's calls bring what the ledger and the verifier need."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from harness.tasks.base import Task, TaskError
from harness.tasks.registry import materialise, trajectory
from harness.tasks.toolbench.tools import make_tools


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return materialise("toolbench/recover-1", 0, tmp_path / "task")


def test_the_oracle_finds_the_answer_and_the_last_call_finishes(task: Task, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    tools = {tool.name: tool for tool in make_tools(task, tmp_path, ledger)}
    calls = [call for step in trajectory(task, "oracle", "bounded") for call in step.calls]
    results = [tools[call.name].run(call.arguments) for call in calls]
    assert [result.finished for result in results] == [False] * (len(calls) - 1) + [True]
    assert not results[0].ok
    assert results[-2].text.endswith(str(calls[-1].arguments["answer"]))
    assert all(result.changed == () for result in results)
    rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [(row["name"], row["arguments"], row["answer"]) for row in rows] == [
        (call.name, call.arguments, result.text) for call, result in zip(calls, results, strict=True)
    ]
    assert ledger.read_text() == (task.folder / "solution/files/calls.jsonl").read_text()


def test_two_dispatches_do_not_know_of_each_other(task: Task, tmp_path: Path) -> None:
    calls = [call for step in trajectory(task, "oracle", "bounded") for call in step.calls]
    for number in range(2):
        tools = {tool.name: tool for tool in make_tools(task, tmp_path, tmp_path / f"ledger-{number}")}
        assert not tools[calls[0].name].run(calls[0].arguments).ok


def test_the_tools_are_the_ones_that_the_task_offers_in_its_order(task: Task, tmp_path: Path) -> None:
    tools = make_tools(task, tmp_path, tmp_path / "ledger")
    assert tuple(tool.name for tool in tools) == task.harness.tools
    assert all(tool.schema["function"]["name"] == tool.name for tool in tools)
    assert {tool.effect for tool in tools} == {"load", "execute", "finish"}


def test_a_tool_that_there_is_not_and_a_lost_world_are_named(task: Task, tmp_path: Path) -> None:
    strange = msgspec.structs.replace(task, harness=msgspec.structs.replace(task.harness, tools=("bash",)))
    with pytest.raises(TaskError, match="bash"):
        make_tools(strange, tmp_path, tmp_path / "ledger")
    (task.folder / "hidden" / "world.json").unlink()
    with pytest.raises(TaskError, match=r"recover-1: world\.json"):
        make_tools(task, tmp_path, tmp_path / "ledger")
