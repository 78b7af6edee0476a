"""The sessions of a stored run are found again, or it is said why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.cli.cache_run import chosen_sessions
from harness.run_sessions import demo_sessions, described, sessions_of
from harness.session_maker.generator import generate
from harness.sessions import SessionError, bundled_sessions, write_session
from profiler.records import RunInfo
from tests.profiler.test_summary import INFO


def info(settings: dict[str, Any], command: str = "cache") -> RunInfo:
    return msgspec.structs.replace(INFO, settings=settings, command=command)


def run_of(*named: str) -> RunInfo:
    return info(described(chosen_sessions(list(named)), named))


def test_bundled_sessions_are_found_by_name() -> None:
    found = sessions_of(run_of("sub-agent", "compaction"), ("compaction",))
    assert [session.name for session in found] == ["compaction"]
    assert found[0] in bundled_sessions()


def test_files_and_folders_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = msgspec.structs.replace(generate("append-only", seed=3, turns=2), name="mine")
    folder = tmp_path / "traces"
    folder.mkdir()
    write_session(own, folder / "a.jsonl")
    write_session(msgspec.structs.replace(own, name="other"), tmp_path / "b.jsonl")
    monkeypatch.chdir(tmp_path)
    run = run_of("traces", "b.jsonl")
    monkeypatch.chdir(folder)
    assert [session.name for session in sessions_of(run, ("mine", "other"))] == ["mine", "other"]


def test_a_file_that_changed_or_went_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    own = msgspec.structs.replace(generate("append-only", seed=3, turns=3), name="mine")
    write_session(own, file)
    run = run_of(str(file))
    assert sessions_of(run, ("mine",)) == (own,)
    write_session(msgspec.structs.replace(own, turns=own.turns[:2]), file)
    with pytest.raises(SessionError, match="mine: the session is not the one that this run replayed"):
        sessions_of(run, ("mine",))
    file.unlink()
    with pytest.raises(SessionError, match="cannot be read"):
        sessions_of(run, ("mine",))


def test_sessions_that_were_never_named_are_an_error() -> None:
    with pytest.raises(SessionError, match="not found") as caught:
        sessions_of(info({"sessions": {"mine": {}}}), ("mine",))
    assert "dyno cache" in caught.value.hint


def test_the_sessions_of_a_demo_are_made_again() -> None:
    run = info(described(demo_sessions(), ()), command="demo")
    assert sessions_of(run, ("compaction", "sub-agent"))[0] == next(
        s for s in demo_sessions() if s.name == "compaction"
    )


def test_a_run_from_before_hashes_were_kept_finds_bundled_sessions() -> None:
    assert sessions_of(info({"sessions": {"compaction": {"side": "prompt"}}}), ("compaction",))
