"""A server's log: what is read of it and when, and what is believed for which request."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Evidence, TargetError
from backends.http_chat.server_log import LogFile, Statement, by_llama_server, completed

CAPTURED = Path(__file__).parents[1] / "recordings" / "llama-server" / "logs"
"""Logs of a real llama-server at verbosity 4."""
TRACED = ("cached n_tokens", "selected slot", "new prompt", "n_past")
REPLY = Evidence(prompt_tokens=80, sources={"prompt_tokens": "usage.prompt_tokens"})


def captured(name: str) -> str:
    return (CAPTURED / f"{name}.txt").read_text(encoding="utf-8")


def at_default_verbosity(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not any(mark in line for mark in TRACED))


def anything(text: str) -> bool:
    return bool(text)


@pytest.mark.parametrize(
    ("name", "cached", "prompt"),
    [("cold", 0, 1824), ("hit", 1823, 1824), ("restored-from-ram", 1823, 1824), ("full-reprocessing", 0, 2221)],
)
def test_both_ways_of_reading_a_real_log_agree(name: str, cached: int, prompt: int) -> None:
    text = captured(name)
    assert by_llama_server(text) == (Statement("memory_seq_rm", cached, prompt),)
    assert by_llama_server(at_default_verbosity(text)) == (Statement("stop processing", cached, prompt),)


def test_only_one_whole_request_is_read() -> None:
    one = captured("hit")
    assert by_llama_server(one + one) == by_llama_server(one + captured("cold")) == ()
    assert by_llama_server("") == by_llama_server(captured("four-slots-overflow")) == ()
    unfinished = at_default_verbosity(one).partition("stop processing")[0]
    assert by_llama_server(unfinished) == ()
    truncated = at_default_verbosity(one).replace("truncated = 0", "truncated = 1")
    assert by_llama_server(truncated) == ()


@pytest.mark.parametrize(
    ("statements", "cached", "conflict"),
    [
        ([], None, None),
        ([Statement("a", 64, 80)], 64, None),
        ([Statement("a", 0, None)], 0, None),
        ([Statement("a", 64, 80), Statement("b", 64, None)], 64, None),
        ([Statement("a", 64, 80), Statement("a", 64, 80)], None, None),
        ([Statement("a", 64, 80), Statement("b", 63, 80)], None, "64 by «a», 63 by «b»"),
        ([Statement("a", 64, 81)], None, "a prompt of 81 tokens, the reply of 80"),
        ([Statement("a", 81, None)], None, "the prompt of 80"),
    ],
)
def test_what_is_believed(statements: list[Statement], cached: int | None, conflict: str | None) -> None:
    found = completed(REPLY, statements)
    assert found.cached_tokens == cached
    assert (found.conflict is None) if conflict is None else (conflict in str(found.conflict))
    if cached is not None:
        assert found.evaluated_tokens == 80 - cached
        assert found.sources["cached_tokens"] == "engine_log: a"


def test_a_reply_that_says_it_itself() -> None:
    said = Evidence(prompt_tokens=80, cached_tokens=64, sources={"cached_tokens": "usage"})
    assert completed(said, [Statement("a", 64, 80)]) == said
    assert completed(said, [Statement("a", 9, 99)]) == said
    assert "63 by «a», 64 by «the reply»" in str(completed(said, [Statement("a", 63, 80)]).conflict)
    assert completed(Evidence(), [Statement("a", 64, 80)]) == Evidence()


@given(st.text(), st.none() | st.integers(0, 99))
def test_other_text_says_nothing(text: str, prompt: int | None) -> None:
    reply = Evidence(prompt_tokens=prompt)
    assert completed(reply, by_llama_server(text)) == reply


def test_only_whole_new_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("earlier\n")
    log = LogFile(str(file), "hint")
    file.write_text("earlier\none\ntw")
    assert log.news(anything) == "one\n"
    file.write_text("earlier\none\ntwo\n")
    assert log.news(anything) == "two\n"
    file.write_text("earlier\none\ntwo\nlate\n")
    log.skip()
    file.write_text("earlier\none\ntwo\nlate\nthree\n")
    assert log.news(anything) == "three\n"
    file.write_text("anew\n")
    assert log.news(anything) == "anew\n"


def test_it_waits_for_late_lines_but_not_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            file.write_text("late\n")

    log = LogFile(str(file), "hint", pause=pause)
    assert log.news(anything) == "late\n"
    assert len(pauses) == 3
    assert log.news(anything) == ""
    assert sum(pauses[3:]) == pytest.approx(0.3)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"none\.log: No such file") as caught:
        LogFile(str(tmp_path / "none.log"), "give the log")
    assert caught.value.hint == "give the log"
