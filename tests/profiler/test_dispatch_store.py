"""What agents leave: it comes back as it was, and a killed dispatch has everything up to its last turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler.dispatch_store import DispatchWriter, dispatch_folder, holds_dispatches, read_dispatches
from profiler.run_files import StoreError
from tests.profiler.dispatches import call, ended, started, turn


def test_every_record_comes_back_as_it_was(tmp_path: Path) -> None:
    writer = DispatchWriter(tmp_path)
    first, second = started("one"), started("two")
    turns = [turn(0, call(result="ä\ud800"[:1]), name="one"), turn(1, name="one")]
    writer.started(first)
    for record in turns:
        writer.turn(record)
    writer.ended(ended([], turns, "one"))
    writer.started(second)
    writer.close()
    writer.close()
    assert holds_dispatches(tmp_path)
    (one, two), notes = read_dispatches(tmp_path)
    assert (one.started, one.turns, one.ended) == (first, tuple(turns), ended([], turns, "one"))
    assert (two.started, two.turns, two.ended) == (second, (), None)
    assert notes == ()


def test_a_torn_line_costs_its_record_alone(tmp_path: Path) -> None:
    writer = DispatchWriter(tmp_path)
    writer.started(started())
    writer.turn(turn(0))
    writer.turn(turn(1))
    writer.close()
    file = tmp_path / "turns.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    (dispatch,), notes = read_dispatches(tmp_path)
    assert [record.turn for record in dispatch.turns] == [0]
    assert len(notes) == 1
    assert "turns.jsonl line 3 is torn" in notes[0]


def test_a_run_without_agents_has_none(tmp_path: Path) -> None:
    assert not holds_dispatches(tmp_path)
    assert read_dispatches(tmp_path) == ((), ())


def test_texts_are_whole_and_lie_with_their_dispatch(tmp_path: Path) -> None:
    writer = DispatchWriter(tmp_path)
    writer.text("one", "workspace.diff", b"--- a\n")
    assert (dispatch_folder(tmp_path, "one") / "workspace.diff").read_bytes() == b"--- a\n"
    writer.close()


def test_a_second_writer_does_not_take_the_files_of_the_first(tmp_path: Path) -> None:
    DispatchWriter(tmp_path).close()
    with pytest.raises(StoreError, match=r"cannot create the dispatches"):
        DispatchWriter(tmp_path)
