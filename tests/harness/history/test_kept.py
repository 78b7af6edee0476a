"""What is kept beside a run is used only while it says what the JSON Lines do, and never touches them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from harness.history.closing import LARGE_BYTES, keep_if_large
from harness.history.database import History
from harness.history.kept import Index, fresh, keep
from harness.history.stored import KEPT
from profiler.run_files import StoreError
from tests.harness.history.stored_runs import session_requests, write_run


def sources(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}


def requests(root: Path) -> tuple[int, int]:
    with History(root) as history:
        ((count,),) = history.ask("SELECT count(*) FROM requests").rows
        return count, history.unkept


def test_keeping_leaves_the_truth_as_it_is_and_nothing_half_made(tmp_path: Path) -> None:
    run = write_run(tmp_path, "run-a")
    before = sources(run)
    keep(run)
    keep(run)
    assert sources(run) == before
    assert sorted(file.name for file in (run / KEPT).iterdir()) == [
        "index.json",
        "requests.parquet",
        "residency.parquet",
    ]
    assert sorted(folder.name for folder in run.iterdir() if folder.is_dir()) == [KEPT]
    assert requests(tmp_path) == (3, 0)


def test_a_run_that_grew_is_read_from_its_lines(tmp_path: Path) -> None:
    run = write_run(tmp_path, "run-a")
    keep(run)
    file = run / "requests.jsonl"
    line = file.read_bytes().splitlines()[-1]
    os.utime(run / KEPT / "index.json", ns=(2**62, 2**62))  # the size alone must tell
    with file.open("ab") as out:
        out.write(line + b"\n")
    assert requests(tmp_path) == (4, 1)


def test_lines_that_are_newer_than_the_tables_are_read(tmp_path: Path) -> None:
    run = write_run(tmp_path, "run-a")
    keep(run)
    later = (run / KEPT / "index.json").stat().st_mtime_ns + 1_000_000_000
    os.utime(run / "run.json", ns=(later, later))
    assert requests(tmp_path) == (3, 1)


@pytest.mark.parametrize("change", ["renamed", "other version", "torn index", "new file", "lost file"])
def test_tables_of_something_else_are_not_used(change: str, tmp_path: Path) -> None:
    run = write_run(tmp_path, "run-a")
    keep(run)
    index = run / KEPT / "index.json"
    if change == "renamed":
        run.rename(tmp_path / "run-b")
    elif change == "other version":
        held = msgspec.json.decode(index.read_bytes(), type=Index)
        index.write_bytes(msgspec.json.encode(msgspec.structs.replace(held, tables_version=0)))
    elif change == "torn index":
        index.write_bytes(index.read_bytes()[:40])
    elif change == "new file":
        (run / "cells.jsonl").write_text('{"schema":2,"holds":"CellBegun"}\n')
        os.utime(run / "cells.jsonl", ns=(0, 0))
    else:
        (run / "anchors.jsonl").unlink()
    assert requests(tmp_path) == (3, 1)


def test_at_the_close_only_a_large_run_is_kept(tmp_path: Path) -> None:
    small, large = write_run(tmp_path, "small"), write_run(tmp_path, "large", session_requests(count=150))
    assert (large / "requests.jsonl").stat().st_size > LARGE_BYTES
    for run in (small, large):
        keep_if_large(run)
    assert fresh(small, "small") is None
    assert fresh(large, "large") is not None


def test_a_folder_that_cannot_be_written_is_one_clear_error_and_harms_no_close(tmp_path: Path) -> None:
    run = write_run(tmp_path, "run-a", session_requests(count=150))
    (run / f"{KEPT}.partial-{os.getpid()}").write_text("in the way")
    with pytest.raises(StoreError, match="cannot keep the tables"):
        keep(run)
    keep_if_large(run)
    assert requests(tmp_path) == (150, 1)
