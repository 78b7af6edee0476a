"""What an agent changed: which files, and as a diff."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.detectors.base import Change
from harness.differences import changes_of, unified_diff
from harness.workspace import changed_files


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    return folder


def test_what_changed(tmp_path: Path) -> None:
    before = write(tmp_path / "before", same="1\n", changed="1\n2\n3\n", removed="1\n", binary="\0")
    after = write(tmp_path / "after", same="1\n", changed="1\n2\n4", added="1\n", binary="\0\0")
    assert changed_files(before, after) == ("added", "binary", "changed", "removed")
    assert unified_diff(changes_of(before, after)) == (
        "--- /dev/null\n+++ b/added\n@@ -0,0 +1 @@\n+1\n"
        "Binary files a/binary and b/binary differ\n"
        "--- a/changed\n+++ b/changed\n@@ -1,3 +1,3 @@\n 1\n 2\n-3\n+4\n\\ No newline at end of file\n"
        "--- a/removed\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n"
    )
    assert changes_of(before, before) == ()


def test_a_link_in_place_of_a_file_is_a_removed_file_and_is_not_read(tmp_path: Path) -> None:
    secret = write(tmp_path / "elsewhere", secret="canary")
    before, after = write(tmp_path / "before", file="text"), write(tmp_path / "after")
    (after / "file").symlink_to(secret / "secret")
    assert changes_of(before, after) == (Change("file", "text", None),)


def test_a_name_that_is_no_text_can_be_written_down(tmp_path: Path) -> None:
    before, after = write(tmp_path / "before"), write(tmp_path / "after")
    (after / os.fsdecode(b"\xff")).write_text("text")
    (change,) = changes_of(before, after)
    assert change == Change("\\xff", None, "text")
    change.path.encode()


@given(before=st.text(max_size=40), after=st.text(max_size=40))
def test_a_change_is_told_exactly_where_there_is_one(
    before: str, after: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.getbasetemp()
    folders = [write(place / f"differences-{name}", file=text) for name, text in (("a", before), ("b", after))]
    assert (changes_of(*folders) == ()) == (before == after)
