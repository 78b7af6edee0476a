"""The agent's folder: always the same place, empty, and read without following what a model planted."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.workspace import (
    DEEPEST,
    WorkspaceError,
    changed_files,
    claim,
    copy_tree,
    files_of,
    read_file,
    remove,
    user_folder,
)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_place_is_the_same_every_time_and_empty(tmp_path: Path) -> None:
    with claim(tmp_path) as first:
        write(first, file="text")
        (first / "closed").mkdir(mode=0)
    with claim(tmp_path) as again:
        assert again == first == tmp_path / "workspace"
        assert list(again.iterdir()) == []
        assert stat.S_IMODE(again.stat().st_mode) == 0o700
    assert list(again.iterdir()) == []


def test_a_second_one_at_the_same_time_gets_another_place(tmp_path: Path) -> None:
    with claim(tmp_path) as first, claim(tmp_path) as second:
        assert (first.name, second.name) == ("workspace", "workspace-2")
    with claim(tmp_path) as third:
        assert third == first


def test_what_a_killed_process_left_is_emptied(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, harness.workspace\n"
        f"with harness.workspace.claim(pathlib.Path({str(tmp_path)!r})) as place:\n"
        "    (place / 'left').touch(); os.kill(os.getpid(), 9)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])},
        check=False,
    )
    assert done.returncode == -9
    assert (tmp_path / "workspace" / "left").exists()
    with claim(tmp_path) as place:
        assert place.name == "workspace"
        assert list(place.iterdir()) == []


def test_the_users_folder_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = user_folder()
    assert folder == tmp_path.resolve() / f"dyno-{os.geteuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(WorkspaceError, match="not a folder of this user"):
        user_folder()


def test_a_copy_has_fixed_times_and_simple_modes(tmp_path: Path) -> None:
    source = write(tmp_path / "source", **{"a/b.py": "text", "run.sh": "#!/bin/sh"})
    (source / "run.sh").chmod(0o4777)
    copy_tree(source, tmp_path / "copy")
    files = [tmp_path / "copy" / name for name in ("a/b.py", "run.sh", "a", ".")]
    assert {file.stat().st_mtime for file in files} == {1_600_000_000}
    assert [stat.S_IMODE(file.stat().st_mode) for file in files[:2]] == [0o644, 0o755]
    assert changed_files(source, tmp_path / "copy") == ()


def test_nothing_that_a_model_planted_is_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "hidden", secret="canary") / "secret"
    source = write(tmp_path / "source", inner="text", **{"folder/file": "text"})
    links = {"file": secret, "folder_out": secret.parent, "up": Path("../hidden/secret"), "absolute": source / "inner"}
    links |= {"chain": Path("file"), "loop": Path("loop"), "good": Path("inner"), "folder/good": Path("../inner")}
    for name, target in links.items():
        (source / name).symlink_to(target)
    os.mkfifo(source / "pipe")
    copied = tmp_path / "copy"
    copy_tree(source, copied)
    names = {str(file.relative_to(copied)) for file in copied.rglob("*")}
    assert names == {"inner", "folder", "folder/file", "folder/good", "good"}
    assert set(files_of(source)) == {"inner", "folder/file"}
    assert read_file(source / "file") is None
    assert read_file(source / "pipe") is None


def test_a_file_that_became_a_link_while_it_was_looked_at(tmp_path: Path) -> None:
    """The link is never opened: opening says so itself."""
    source = write(tmp_path / "source", file="text")
    (source / "link").symlink_to(tmp_path / "source" / "file")
    copy_tree(source, tmp_path / "copy")
    assert not (tmp_path / "copy" / "link").exists()


def test_what_is_not_the_agents_work_is_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="1",
        **{".home/x": "1", ".tmp/x": "1", "p/__pycache__/x.pyc": "1", ".pytest_cache/x": "1", ".b": "2"},
    )
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    assert list(files_of(tmp_path)) == [".b", "\\xff", "a"]
    assert read_file(files_of(tmp_path)["\\xff"]) == b""


def test_a_copy_leaves_out_what_it_is_told_to(tmp_path: Path) -> None:
    source = write(tmp_path / "source", a="1", **{"b/.tmp/x": "1", "b/c": "1"})
    copy_tree(source, tmp_path / "copy", leave_out=frozenset({".tmp"}))
    assert sorted(p.relative_to(tmp_path / "copy").as_posix() for p in (tmp_path / "copy").rglob("*")) == [
        "a",
        "b",
        "b/c",
    ]


def test_a_tree_without_end_is_removed_and_not_copied_whole(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    script = "import os\nfor n in range(1100):\n    os.mkdir('d'); os.chdir('d')\n"
    subprocess.run([sys.executable, "-S", "-c", script], cwd=deep, check=True)
    copy_tree(deep, tmp_path / "copy")
    assert (tmp_path / "copy" / Path(*["d"] * DEEPEST)).exists()
    assert not (tmp_path / "copy" / Path(*["d"] * (DEEPEST + 1))).exists()
    assert files_of(deep) == {}
    (deep / "d" / "closed").mkdir(mode=0)
    (deep / "link").symlink_to(tmp_path / "copy")
    remove(deep)
    assert (tmp_path / "copy" / "d").exists()
    assert not deep.exists()
