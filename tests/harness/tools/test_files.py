from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.tools.base import Tool
from harness.tools.files import edit_tool, grep_tool, list_tool, read_tool, write_tool
from harness.tools.paths import PathError, Workspace, settled

MAKERS: dict[str, Callable[[Workspace], Tool]] = {
    "read": read_tool, "list": list_tool, "grep": grep_tool, "edit": edit_tool, "write": write_tool,
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.py").write_text("one\ntwo\nthree\n")
    (folder / "src" / ".tmp").mkdir()
    (folder / "src" / ".tmp" / "b.py").write_text("two\n")
    (folder / "notes.md").write_text("")
    (tmp_path / "secret").write_text("hidden two\n")
    return folder


def run(root: Path, tool: str, **arguments: object) -> str:
    return MAKERS[tool](Workspace(root)).run(arguments).text


def test_a_file_is_read_with_line_numbers(root: Path) -> None:
    assert run(root, "read", path="src/a.py") == "    1  one\n    2  two\n    3  three"
    assert run(root, "read", path="/workspace/src/a.py", offset=2, limit=1) == "    2  two\n(lines 2 to 2 of 3)"
    assert run(root, "read", path="src/a.py", offset=9) == "Error: src/a.py has only 3 lines"
    assert run(root, "read", path="notes.md") == "(empty file)"
    assert run(root, "read", path="no.py") == "Error: no.py: No such file or directory"
    assert run(root, "read", path="src") == "Error: src is a folder"


def test_listing_leaves_out_what_tools_make(root: Path) -> None:
    (root / "empty").mkdir()
    (root / "out").symlink_to("..")
    assert run(root, "list") == "empty/\nnotes.md\nout\nsrc/a.py"
    assert run(root, "list", path="src") == "src/a.py"
    assert run(root, "list", path="notes.md") == "Error: notes.md is a file"


def test_grep_names_files_and_lines(root: Path) -> None:
    assert run(root, "grep", pattern="t[wh]") == "src/a.py:2: two\nsrc/a.py:3: three"
    assert run(root, "grep", pattern="two", path="notes.md") == "(no matches)"
    assert run(root, "grep", pattern="(").startswith("Error: wrong expression: missing )")


def test_grep_follows_no_link_out(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    (root / "folder").symlink_to(root.parent)
    assert run(root, "grep", pattern="hidden") == "(no matches)"


def test_an_expression_that_takes_for_ever_is_ended(root: Path) -> None:
    (root / "notes.md").write_text("a" * 40 + "!")
    result = grep_tool(Workspace(root), search_s=0.5).run({"pattern": "(a+)+$"})
    assert (result.ok, result.timed_out) == (False, True)


def test_an_edit_needs_a_text_that_is_there_once(root: Path) -> None:
    assert run(root, "edit", path="src/a.py", old="two\n", new="2\n") == "Replaced 1 text in src/a.py, line 2."
    assert (root / "src" / "a.py").read_text() == "one\n2\nthree\n"
    assert "is not in src/a.py" in run(root, "edit", path="src/a.py", old="two", new="2")
    assert "is 3 times in src/a.py" in run(root, "edit", path="src/a.py", old="e", new="E")
    assert "the same" in run(root, "edit", path="src/a.py", old="one", new="one")
    assert "is not in" in run(root, "edit", path="src/a.py", old="", new="x")


def test_an_edit_keeps_line_ends(root: Path) -> None:
    (root / "notes.md").write_bytes(b"a\r\nb\r\n")
    run(root, "edit", path="notes.md", old="b", new="c")
    assert (root / "notes.md").read_bytes() == b"a\r\nc\r\n"


def test_writing_makes_folders(root: Path) -> None:
    assert run(root, "write", path="new/deep/x.py", content="a\nb\n") == "Wrote 2 lines to new/deep/x.py."
    assert (root / "new" / "deep" / "x.py").read_text() == "a\nb\n"
    assert run(root, "write", path=".", content="") == "Error: . is a folder"
    assert run(root, "write", path="src/a.py/x", content="").startswith("Error: ")


@pytest.mark.parametrize(
    "path", ["../secret", "/workspace/../secret", "/etc/passwd", "src/../../secret", "link", "folder/secret", "chain"]
)
@pytest.mark.parametrize("tool", ["read", "edit", "write", "list", "grep"])
def test_no_path_leads_out_of_the_workspace(root: Path, tool: str, path: str) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    (root / "folder").symlink_to("..")
    (root / "chain").symlink_to("link")
    arguments = {"path": path, "old": "hidden", "new": "x", "content": "x", "pattern": "hidden"}
    assert "is outside of the workspace" in run(root, tool, **arguments)
    assert (root.parent / "secret").read_text() == "hidden two\n"


def test_a_file_with_a_name_outside_is_written_anew(root: Path) -> None:
    os.link(root.parent / "secret", root / "hard")
    run(root, "write", path="hard", content="mine")
    run(root, "edit", path="hard", old="mine", new="still mine")
    assert (root / "hard").read_text() == "still mine"
    assert (root.parent / "secret").read_text() == "hidden two\n"


def test_a_pipe_does_not_hold_us(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert run(root, "read", path="pipe") == "Error: pipe is no ordinary file"
    assert run(root, "write", path="pipe", content="x") == "Error: pipe is no ordinary file"
    assert run(root, "grep", pattern="one") == "src/a.py:1: one"


def test_a_zero_byte_is_no_path(root: Path) -> None:
    with pytest.raises(PathError, match="zero byte"):
        Workspace(root).resolve("a\0b")


def test_the_real_path_never_shows(tmp_path: Path) -> None:
    real = tmp_path / "work"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    workspace = Workspace(link)
    assert workspace.outward(f"{link}/a {real}/b {real}: {real}2") == f"/workspace/a /workspace/b /workspace: {real}2"
    assert workspace.inward("cd /workspace && ls /workspace/src x/workspace /workspace2") == (
        f"cd {real} && ls {real}/src x/workspace /workspace2"
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("3 passed in 0.12s", "3 passed"),
        ("===== 1 failed, 3 passed in 62.12s (0:01:02) =====", "1 failed, 3 passed"),
        ("no tests ran in 0.01s", "no tests ran"),
        ("Ran 5 tests in 0.003s", "Ran 5 tests"),
        ("wrote .tmp/tmpab_12xyz", "wrote .tmp/tmp"),
        ("/workspace/.tmp/pytest-of-agent/pytest-12/test_a0", "/workspace/.tmp/pytest-of-agent/pytest-0/test_a0"),
        ("<object at 0x7f12ab34cd56>", "<object at 0x0>"),
        ("it came in 12s", "it came in 12s"),
    ],
)
def test_what_is_new_in_every_run_is_left_out(said: str, shown: str) -> None:
    assert settled(said) == shown
