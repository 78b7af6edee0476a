"""Whether a process is at work on an experiment: this one while it says so, and none that is gone."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from harness.experiment.at_work import is_at_work, working_on


def test_a_process_is_at_work_for_as_long_as_it_says_so(tmp_path: Path) -> None:
    assert not is_at_work(tmp_path)
    with working_on(tmp_path):
        assert is_at_work(tmp_path)
    assert not is_at_work(tmp_path)


def test_one_that_was_killed_or_whose_id_was_given_again_is_not(tmp_path: Path) -> None:
    file = tmp_path / "working.json"
    for pid, started in ((2**31 - 1, 0.0), (os.getpid(), 1.0)):
        file.write_bytes(msgspec.json.encode({"pid": pid, "started_unix_s": started}))
        assert not is_at_work(tmp_path)
    file.write_bytes(b"{")
    assert not is_at_work(tmp_path)
