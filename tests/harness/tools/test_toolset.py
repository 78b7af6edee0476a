from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from backends.base import JsonObject
from harness.sandbox.base import Completed, Policy, SandboxError
from harness.sandbox.unconfined import Unconfined
from harness.settings import Setting
from harness.tasks.base import Harness, Task, TaskError, Tests
from harness.tasks.registry import materialise
from harness.tools.base import Tool, ToolResult
from harness.tools.changes import Changed, Changes
from harness.tools.toolset import TOOLS, command_policy, make_toolset

TESTS = Tests(suite="run all", file="run {file}", test="run {test} of {file}", names="")


class Heard:
    """A sandbox that keeps what it is asked and answers as told."""

    name = "heard"

    def __init__(self, output: str = "", exit_code: int = 0, *, timed_out: bool = False) -> None:
        self.commands: list[str] = []
        self._completed = Completed(exit_code, output.encode(), len(output.encode()), timed_out, 1)

    def run(self, argv: tuple[str, ...], policy: Policy, *, stdin: bytes = b"") -> Completed:
        assert argv[1] == "-c"
        self.commands.append(argv[2])
        return self._completed


def toolset(
    root: Path, sandbox: Heard | Unconfined, setting: JsonObject | None = None, **harness: object
) -> dict[str, Tool]:
    given = msgspec.convert({"tests": TESTS, **harness}, Harness)
    task = Task(name="t", pack="", seed=0, title="", folder=root, harness=given)
    tools = make_toolset(task, msgspec.convert(setting or {}, Setting), root, sandbox)
    return {tool.name: tool for tool in tools}


def test_the_standard_tools_and_the_scaffolding_in_order(tmp_path: Path) -> None:
    assert tuple(toolset(tmp_path, Heard())) == TOOLS
    levers: JsonObject = {"scaffolding": {"todo": True, "planner": True, "scratchpad": True}}
    assert tuple(toolset(tmp_path, Heard(), levers, tools=("bash", "submit"))) == (
        "bash", "submit", "todo", "plan", "scratchpad",
    )  # fmt: skip


def test_the_bash_tool_maps_paths_both_ways(tmp_path: Path) -> None:
    sandbox = Heard(f"{tmp_path}/a.py: Permission denied\n3 failed in 0.52s\n", exit_code=2)
    result = toolset(tmp_path, sandbox)["bash"].run({"command": "cd /workspace/src && cat a.py"})
    assert sandbox.commands == [f"cd {tmp_path}/src && cat a.py"]
    assert result.text == "/workspace/a.py: Permission denied\n3 failed\n[exit code 2]"
    assert (result.ok, result.exit_code, result.denied) == (False, 2, True)


def test_what_a_command_says_of_itself(tmp_path: Path) -> None:
    def said(sandbox: Heard) -> ToolResult:
        return toolset(tmp_path, sandbox, {"limits": {"tool_s": 2.5}})["bash"].run({"command": "x"})

    assert said(Heard()) == ToolResult("(no output)", exit_code=0)
    ended = said(Heard("begun", exit_code=-9, timed_out=True))
    assert (ended.text, ended.timed_out, ended.ok) == ("begun\n[ended: it took longer than 2.5 seconds]", True, False)
    assert not said(Heard("tests say: permission denied is handled")).denied


@pytest.mark.parametrize(
    ("granularity", "name", "expected"),
    [
        ("suite", "", "run all"),
        ("suite", "tests/test_a.py::test_x", "run all"),
        ("file", "tests/test_a.py", "run tests/test_a.py"),
        ("file", "tests/test_a.py::test_x", "run tests/test_a.py"),
        ("file", "/workspace/tests/test_a.py", "run tests/test_a.py"),
        ("file", "", "Error: name a test file"),
        ("file", "tests", "Error: tests is a folder; name a test file"),
        ("file", ".", "Error: . is a folder"),
        ("file", "--collect-only", "Error: name a test file"),
        ("file", "../x.py", "Error: ../x.py is outside of the workspace"),
        ("file", "a.py; rm -rf .", "run 'a.py; rm -rf .'"),
        ("test", "tests/test_a.py::test_x", "run tests/test_a.py::test_x of tests/test_a.py"),
        ("test", "tests/test_a.py::test_x[a b]", "run 'tests/test_a.py::test_x[a b]' of tests/test_a.py"),
        ("test", "tests/test_a.py", "Error: tests/test_a.py has several tests; name one test"),
        ("test", "tests/test_a.py::TestAll", "Error: tests/test_a.py::TestAll has several tests"),
        ("test", "case-12", "run case-12 of case-12"),
        ("test", "", "Error: name one test"),
    ],
)
def test_the_granularity_decides_what_is_run(tmp_path: Path, granularity: str, name: str, expected: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").touch()
    sandbox = Heard("ok")
    tool = toolset(tmp_path, sandbox, {"tests": {"granularity": granularity}})["test"]
    result = tool.run({"name": name} if name else {})
    if expected.startswith("Error"):
        assert result.text.startswith(expected)
        assert (sandbox.commands, result.ok) == ([], False)
    else:
        assert (sandbox.commands, result.text) == ([expected], "ok")


@pytest.mark.parametrize(
    ("tests", "granularity", "expected"),
    [
        (Tests(suite="all"), "test", "all"),
        (Tests(suite="all", file="one {file}"), "test", "one x"),
        (Tests(suite="all", test="one {test}"), "file", "all"),
    ],
)
def test_without_a_command_the_next_larger_granularity_is_run(
    tmp_path: Path, tests: Tests, granularity: str, expected: str
) -> None:
    sandbox = Heard()
    toolset(tmp_path, sandbox, {"tests": {"granularity": granularity}}, tests=tests)["test"].run({"name": "x"})
    assert sandbox.commands == [expected]


def test_a_task_that_asks_for_what_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="unknown tool 'raed'") as wrong:
        toolset(tmp_path, Heard(), tools=("raed",))
    assert wrong.value.hint == "did you mean read?"
    with pytest.raises(TaskError, match="no command for it"):
        toolset(tmp_path, Heard(), tests=Tests(test="one {test}"), tools=("test",))
    with pytest.raises(TaskError, match="tools of 'nopack', which has none"):
        toolset(tmp_path, Heard(), toolset="nopack")


def test_the_policy_of_commands(tmp_path: Path) -> None:
    task = Task(name="t", pack="", seed=0, title="", folder=tmp_path, harness=Harness(loopback=True))
    policy = command_policy(task, msgspec.convert({"limits": {"tool_s": 7.2}}, Setting), tmp_path)
    assert (policy.workspace, policy.network, policy.wall_s, policy.cpu_s) == (tmp_path.resolve(), "loopback", 7.2, 8)


def test_real_tests_in_a_real_shell_say_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_a(tmp_path):\n    assert str(tmp_path) == object()\n")
    command = "python3 -m pytest -q -p no:cacheprovider {file}"
    tools = toolset(tmp_path, Unconfined(), tests=Tests(suite=command, file=command))
    first, second = (tools["test"].run({"name": "test_a.py"}) for _ in range(2))
    assert first == second
    assert "1 failed\n[exit code 1]" in first.text
    assert str(tmp_path) not in first.text
    assert "/workspace" in first.text


def test_a_sandbox_that_fails_is_no_result(tmp_path: Path) -> None:
    class Broken(Heard):
        def run(self, argv: tuple[str, ...], policy: Policy, *, stdin: bytes = b"") -> Completed:
            raise SandboxError("no namespaces")

    with pytest.raises(SandboxError):
        toolset(tmp_path, Broken())["bash"].run({"command": "ls"})


def test_changes_are_seen_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n")
    (tmp_path / "b.py").write_text("x\n")
    changes = Changes(tmp_path)
    assert changes.since() == Changed()
    (tmp_path / "a.py").write_text("one\nTWO\n")
    assert changes.since() == Changed(("a.py",), 1, 1)
    (tmp_path / "a.py").write_text("one\nTWO\n")
    assert changes.since() == Changed()
    (tmp_path / "b.py").unlink()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.py").write_text("1\n2\n3\n")
    (tmp_path / ".home").mkdir()
    (tmp_path / ".home" / "history").write_text("ls\n")
    assert changes.since() == Changed(("b.py", "sub/c.py"), 3, 1)


def test_a_change_that_hides_behind_its_time_is_seen(tmp_path: Path) -> None:

    (tmp_path / "a.py").write_text("ab\n")
    status = (tmp_path / "a.py").stat()
    changes = Changes(tmp_path)
    (tmp_path / "a.py").write_text("ba\n")
    os.utime(tmp_path / "a.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changes.since() == Changed(("a.py",), 1, 1)


def test_a_link_or_a_large_file_is_no_trouble(tmp_path: Path) -> None:
    changes = Changes(tmp_path)
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "large").write_bytes(b"x\n" * 2**20)
    assert changes.since() == Changed(("large",), 0, 0)


def test_a_pack_brings_its_own_tools(tmp_path: Path) -> None:
    task = materialise("toolbench/select-1", 1, tmp_path / "task")
    ledger = tmp_path / "ledger.jsonl"
    levers = msgspec.convert({"scaffolding": {"todo": True}}, Setting)
    tools = {tool.name: tool for tool in make_toolset(task, levers, tmp_path, Heard(), ledger)}
    assert "submit" in tools
    assert list(tools)[-1] == "todo"
    assert tools["submit"].run({"answer": "x"}).finished
    assert '"submit"' in ledger.read_text()
