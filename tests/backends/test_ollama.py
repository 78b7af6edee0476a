"""Ollama: durations in ns, reloads, what its replies and its log say of the cache, and when neither does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import EngineFault, Evidence, Request, RequestRejected, TargetError
from backends.ollama import evidence_of, with_log
from tests.backends.contract import CALL, RESULT
from tests.backends.recorded_http import played

END: dict[str, Any] = {
    "message": {"role": "assistant", "content": "hi"},
    "done": True,
    "done_reason": "length",
    "load_duration": 20_000_000,
    "prompt_eval_count": 80,
    "prompt_eval_duration": 4_200_000,
    "eval_count": 2,
    "eval_duration": 50_000_000,
}
TASK = (
    "slot update_slots: id  0 | task 7 | cached n_tokens = 64, memory_seq_rm [64, end)\n"
    "slot update_slots: id  0 | task 7 | cached n_tokens = 72, memory_seq_rm [72, end)\n"
    "slot print_timing: id  0 | task 7 | prompt eval time =       4.20 ms /    16 tokens (    0.26 ms per token)\n"
)
MLX = 'time=2026-11-20T12:00:00 level=INFO msg="cache hit" total=80 matched=70 cached=64 left=16\n'
HELLO = Request(({"role": "user", "content": "hello"},), stream=False)


def answers(version: str = "0.30.1", end: dict[str, Any] = END) -> dict[str, bytes]:
    return {
        "/api/version": msgspec.json.encode({"version": version}),
        "/api/tags": b'{"models": [{"name": "m:latest"}]}',
        "/api/chat": msgspec.json.encode(end),
    }


def test_durations_are_ns_and_the_cache_is_unknown() -> None:
    said = evidence_of(END, whole_prompt=True)
    assert (said.prefill_ns, said.decode_ns, said.generated_tokens, said.prompt_tokens) == (
        4_200_000,
        50_000_000,
        2,
        80,
    )
    assert (said.cached_tokens, said.evaluated_tokens, said.log) == (None, None, ())


@given(st.dictionaries(st.sampled_from([*END, "cached_tokens", "prompt_eval_cached"]), st.none() | st.integers()))
def test_no_reply_is_a_miss(end: dict[str, Any]) -> None:
    assert evidence_of(end, whole_prompt=True).cached_tokens is None


@pytest.mark.parametrize(("cached", "evaluated"), [(0, 80), (64, 16), (80, 0)])
def test_the_reply_may_say_what_was_reused(cached: int, evaluated: int) -> None:
    said = evidence_of({**END, "prompt_eval_cached_count": cached}, whole_prompt=True)
    assert (said.cached_tokens, said.evaluated_tokens, said.conflict) == (cached, evaluated, None)
    assert said.sources["cached_tokens"] == "prompt_eval_cached_count"


@pytest.mark.parametrize("cached", [None, -1, True, "64"])
def test_what_is_no_count_is_unknown(cached: Any) -> None:
    assert evidence_of({**END, "prompt_eval_cached_count": cached}, whole_prompt=True).cached_tokens is None


def test_the_reply_and_the_log_must_agree() -> None:
    said = evidence_of({**END, "prompt_eval_cached_count": 64}, whole_prompt=True)
    assert with_log(said, TASK).conflict is None
    assert "64 by «the reply»" in str(with_log(said, TASK.replace("64", "60").replace("    16 ", "    20 ")).conflict)


def test_a_reload_is_noted() -> None:
    (note,) = evidence_of({**END, "load_duration": 4_100_000_000}, whole_prompt=True).log
    assert note == "the model was loaded for this request (4.1 s): its cache was empty"


@pytest.mark.parametrize(
    ("version", "prompt"), [("0.30.1", 80), ("0.31", 80), ("1.0.0-rc1", 80), ("0.30.0", None), ("0.12.6", None)]
)
def test_the_count_of_older_versions_may_leave_out_the_cache(version: str, prompt: int | None) -> None:
    with played("ollama", answers(version)) as (engine, _):
        (said,) = [event for event in engine.stream(HELLO) if isinstance(event, Evidence)]
    assert said.prompt_tokens == prompt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TASK, 64),
        (MLX, 64),
        (TASK + TASK.replace("task 7", "task 8"), None),
        (MLX + MLX, None),
        ("", None),
    ],
)
def test_the_log_counts_where_it_adds_up(text: str, expected: int | None) -> None:
    said = evidence_of(END, whole_prompt=True)
    assert with_log(said, text).cached_tokens == expected
    longer = evidence_of({**END, "prompt_eval_count": 81}, whole_prompt=True)
    assert with_log(longer, text).cached_tokens is None
    assert (with_log(longer, text).conflict is None) == (expected is None)
    assert with_log(evidence_of(END, whole_prompt=False), text).cached_tokens is None


def test_only_what_was_logged_since_is_read(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.write_text(TASK)
    with played("ollama", answers(), log=str(log)) as (engine, _):
        (before,) = [event for event in engine.stream(HELLO) if isinstance(event, Evidence)]
        log.write_text(log.read_text() + MLX)
        events = engine.stream(HELLO)
        next(events)
        log.write_text(log.read_text() + TASK)
        (after,) = [event for event in events if isinstance(event, Evidence)]
    assert (before.cached_tokens, before.log) == (None, ())
    assert (after.cached_tokens, after.evaluated_tokens, after.slot) == (64, 16, 0)
    assert after.sources["cached_tokens"] == "engine_log: memory_seq_rm"
    assert any("memory_seq_rm" in line for line in after.log)


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"none\.log"), played("ollama", answers(), log=str(tmp_path / "none.log")):
        pass


def test_messages_are_sent_in_its_form() -> None:
    request = Request(
        (*HELLO.messages, CALL, RESULT), max_tokens=9, stream=False, parameters={"options": {"num_ctx": 512}}
    )
    with played("ollama", answers()) as (engine, server):
        list(engine.stream(request))
        body = msgspec.json.decode(server.asked[-1][2])
    assert body["model"] == "m:latest"
    assert body["options"] == {"num_predict": 9, "temperature": 0, "num_ctx": 512}
    said = body["messages"][1]
    assert said["thinking"] == CALL["reasoning_content"]
    assert said["tool_calls"][0]["function"]["arguments"] == {"path": "core/frame.py"}


def test_what_goes_wrong_is_said() -> None:
    bad = Request(({"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]},))
    with played("ollama", answers(end={"error": "out of memory"})) as (engine, _):
        with pytest.raises(EngineFault, match="out of memory"):
            list(engine.stream(HELLO))
        with pytest.raises(RequestRejected, match="no JSON object"):
            list(engine.stream(bad))
    unfinished = answers(end={"message": {"content": "hi"}})
    with played("ollama", unfinished) as (engine, _), pytest.raises(EngineFault, match="ended the stream"):
        list(engine.stream(HELLO))
