from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.sandbox.base import Completed, Policy
from harness.tasks.base import Harness, Task
from harness.tasks.folder import folder_sha256, read_folder
from harness.tasks.registry import materialise
from harness.tasks.verify import protected_changes, verify
from tests.harness.tasks.bare_sandbox import BareSandbox
from tests.harness.tasks.task_folders import write_files, write_task

REWARD = (
    """printf '{"score": %s, "parts": {"n": 2}, "notes": ["seen"]}' "$(cat answer.txt)" > "$REWARD_DIR/reward.json"\n"""
)


def task(folder: Path, script: str = REWARD, protected: tuple[str, ...] = ()) -> Task:
    write_task(folder, Harness(protected=protected), script)
    return read_folder(folder)


def left(folder: Path, **files: str) -> Path:
    return write_files(folder, files)


@pytest.mark.parametrize(("answer", "verified"), [("1", "pass"), ("1.0", "pass"), ("0.25", "partial"), ("0", "fail")])
def test_the_score_and_what_it_is_called(tmp_path: Path, answer: str, verified: str) -> None:
    outcome = verify(task(tmp_path / "t"), left(tmp_path / "w", **{"answer.txt": answer}), BareSandbox())
    assert (outcome.verified, outcome.score, outcome.valid) == (verified, float(answer), True)
    assert outcome.parts == {"n": 2}
    assert outcome.notes == ("seen",)
    assert outcome.duration_ns


@pytest.mark.parametrize("answer", ["2", "-0.1", "true", '"1"', "null", "", "1e999", "NaN"])
def test_nonsense_is_no_score(tmp_path: Path, answer: str) -> None:
    outcome = verify(task(tmp_path / "t"), left(tmp_path / "w", **{"answer.txt": answer}), BareSandbox())
    assert (outcome.verified, outcome.score, outcome.valid) == ("not_run", None, False)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (REWARD + "echo broken; exit 3\n", "exit code 3"),
        ("true\n", "no reward"),
        ("echo nan > $REWARD_DIR/reward.txt\n", "nan"),
        ("ln -s /etc/hostname $REWARD_DIR/reward.txt\n", "link"),
    ],
)
def test_a_verifier_that_fails_gives_nothing_that_counts(tmp_path: Path, script: str, said: str) -> None:
    outcome = verify(task(tmp_path / "t", script), left(tmp_path / "w", **{"answer.txt": "1"}), BareSandbox())
    assert not outcome.valid
    assert said in outcome.notes[0]


def test_a_verifier_that_is_stopped(tmp_path: Path) -> None:
    class Slow:
        name = "slow"

        def run(self, argv: tuple[str, ...], policy: Policy, *, stdin: bytes = b"") -> Completed:
            (Path(policy.env["REWARD_DIR"]) / "reward.txt").write_text("1")
            return Completed(-9, b"half of the output", 18, True, 5_000_000_000)

    outcome = verify(task(tmp_path / "t"), left(tmp_path / "w"), Slow())
    assert not outcome.valid
    assert outcome.notes == ("the verifier ran past its 5 s", "half of the output")


def test_what_the_verifier_is_given(tmp_path: Path) -> None:
    script = """
test "$(cat "$HIDDEN/expected.txt")" = 1 && test -f "$TASK_DIR/tests/test.sh" \\
    && test "$(cat "$ORIGINAL/answer.txt")" = 0 || exit 1
test "$(pwd)" = "$WORKSPACE" && test "$(cat "$LEDGER")" = calls && echo "$DYNO_SECONDS" > "$REWARD_DIR/reward.txt"
"""
    (tmp_path / "calls").write_text("calls")
    workspace = left(tmp_path / "w", **{"answer.txt": "1"})
    outcome = verify(task(tmp_path / "t", script), workspace, BareSandbox(), ledger=tmp_path / "calls", seconds=0.5)
    assert outcome.score == 0.5, outcome.notes


def test_neither_the_workspace_nor_the_task_is_changed(tmp_path: Path) -> None:
    made = task(tmp_path / "t", "rm -r * $HIDDEN/*; echo 1 > $REWARD_DIR/reward.txt\n", protected=("tests/**",))
    workspace = left(tmp_path / "w", **{"answer.txt": "1", "tests/test_it.py": "assert False\n"})
    before = folder_sha256(workspace)
    assert verify(made, workspace, BareSandbox()).score == 1
    assert (folder_sha256(workspace), folder_sha256(made.folder)) == (before, made.sha256)


def test_protected_files_are_restored_and_what_was_done_to_them_is_named(tmp_path: Path) -> None:
    script = """
test "$(cat tests/test_it.py)" = "assert True" && test ! -e conftest.py && test ! -h tests/conftest.py \\
    && test -f own.py && echo 1 > "$REWARD_DIR/reward.txt"
"""
    made = task(tmp_path / "t", script, protected=("tests/**", "conftest.py"))
    workspace = left(tmp_path / "w", **{"answer.txt": "1", "conftest.py": "", "own.py": "", "tests/test_it.py": ""})
    (workspace / "tests" / "conftest.py").symlink_to("../own.py")
    assert verify(made, workspace, BareSandbox()).score == 1
    assert protected_changes(made, workspace) == ("conftest.py", "tests/test_it.py")
    (workspace / "tests" / "test_it.py").unlink()
    assert "tests/test_it.py" in protected_changes(made, workspace)
    assert protected_changes(made, made.folder / "workspace") == ()


def test_links_do_not_lead_out_of_the_copy(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    script = """
test ! -e out && test ! -e up && test "$(cat in)" = 1 && test ! -e pipe \\
    && test "$(cat tests/test_it.py)" = "assert True" && echo 1 > "$REWARD_DIR/reward.txt"
"""
    made = task(tmp_path / "t", script, protected=("tests/**",))
    workspace = left(tmp_path / "w", **{"answer.txt": "1"})
    (workspace / "out").symlink_to(tmp_path / "secret")
    (workspace / "up").symlink_to("../secret")
    (workspace / "in").symlink_to("answer.txt")
    (workspace / "tests").symlink_to(tmp_path)
    os.mkfifo(workspace / "pipe")
    outcome = verify(made, workspace, BareSandbox())
    assert outcome.score == 1, outcome.notes
    assert not (tmp_path / "test_it.py").exists()


def test_a_task_in_harbors_layout(tmp_path: Path) -> None:
    """Its files lie beside a Dockerfile, its paths are a container's."""
    theirs = tmp_path / "hello"
    write_files(
        theirs,
        {
            "task.toml": 'version = "1.0"\n[metadata]\ntags = ["x"]\n[verifier]\ntimeout_sec = 7.0\n',
            "instruction.md": "Create /app/hello.txt.",
            "environment/Dockerfile": "FROM x\n",
            "environment/data/in.txt": "hello",
            "solution/solve.sh": "cp /app/data/in.txt /app/hello.txt\n",
            "tests/test.sh": "python /tests/check.py && said=1 || said=0\necho $said > /logs/verifier/reward.txt\n",
            "tests/check.py": "assert open('/app/hello.txt').read() == 'hello'\n",
        },
    )
    made = materialise(str(theirs), 0, tmp_path / "made")
    assert (made.name, made.verifier_timeout_s) == ("hello", 7.0)
    assert (made.folder / "instruction.md").read_text() == "Create ./hello.txt."
    assert not (made.folder / "workspace" / "Dockerfile").exists()
    assert verify(made, made.folder / "workspace", BareSandbox()).verified == "fail"
    solved = left(tmp_path / "w", **{"hello.txt": "hello"})
    assert verify(made, solved, BareSandbox()).verified == "pass"
