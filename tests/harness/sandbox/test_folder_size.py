"""How much a folder takes, whatever a command does to hide it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.sandbox.folder_size import DEEPEST, size_bytes

BLOCK = 4096


def test_files_count_once_and_links_not(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "one").write_bytes(bytes(10 * BLOCK))
    os.link(folder / "inner" / "one", folder / "same")
    (tmp_path / "large").write_bytes(bytes(100 * BLOCK))
    (folder / "link").symlink_to(tmp_path / "large")
    (folder / "around").symlink_to(tmp_path)
    assert 10 * BLOCK <= size_bytes(folder) <= 12 * BLOCK


def test_a_folder_that_may_not_be_listed_counts(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "one").write_bytes(bytes(10 * BLOCK))
    hidden.chmod(0)
    try:
        assert size_bytes(tmp_path) >= 10 * BLOCK
    finally:
        hidden.chmod(0o700)


def test_a_very_deep_tree_is_endless(tmp_path: Path) -> None:
    (tmp_path / Path(*["d"] * DEEPEST)).mkdir(parents=True)
    assert size_bytes(tmp_path) == 0
    (tmp_path / Path(*["d"] * (DEEPEST + 1))).mkdir()
    assert size_bytes(tmp_path) == sys.maxsize


def test_a_folder_that_is_gone_takes_nothing(tmp_path: Path) -> None:
    assert size_bytes(tmp_path / "gone") == 0
