"""Reply bytes to events and evidence: however the bytes are cut, whatever a server leaves out."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import CallPart, ContextOverflow, Delta, EngineError, EngineFault, Evidence, RequestRejected
from backends.wire import LOG_LINES_KEPT, SseDecoder, cache_log, decode_chunk, evidence_of, http_error, stream_error

LOGS = Path(__file__).with_name("recordings") / "llama-server" / "logs"


def decode(stream: bytes, cuts: list[int] | None = None) -> list[bytes]:
    decoder = SseDecoder()
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts or []), len(stream)]
    found = [p for start, end in pairwise(edges) for p in decoder.feed(stream[start:end])]
    return found + decoder.end()


LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).map(str.encode)
EVENT = st.lists(LINE, min_size=1, max_size=3)
NOISE = st.sampled_from([b"", b": keep-alive", b"event: message", b"id: 3", b"retry: 10", b"datum: x"])


@given(
    events=st.lists(st.tuples(EVENT, NOISE), max_size=5),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    space=st.booleans(),
    finished=st.booleans(),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
def test_the_payloads_are_the_same_however_the_bytes_are_cut(
    events: list[tuple[list[bytes], bytes]], line_end: bytes, space: bool, finished: bool, cuts: list[int]
) -> None:
    stream = b""
    for lines, noise in events:
        parts = [noise] if noise else []
        # Without the space, a line that itself starts with one would lose it: the format says so.
        parts += [b"data:" + (b" " if space or line[:1] == b" " else b"") + line for line in lines]
        stream += line_end.join([*parts, b"", b""])
    if not finished:
        stream = stream.removesuffix(line_end)
    expected = [b"\n".join(lines) for lines, _ in events]
    assert decode(stream) == expected
    assert decode(stream, cuts) == expected


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_no_bytes_are_read_differently_in_pieces(stream: bytes, cuts: list[int]) -> None:
    assert decode(stream, cuts) == decode(stream)


def test_one_byte_at_a_time() -> None:
    stream = b": ping\r\n\r\ndata: {\r\ndata: }\r\n\r\ndata: [DONE]\r\n"
    assert decode(stream, list(range(len(stream)))) == [b"{\n}", b"[DONE]"]


def test_a_payload_waits_for_its_blank_line() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [b"a"]
    assert decoder.end() == []


def test_a_chunk_with_every_kind_of_text() -> None:
    chunk = decode_chunk(
        b'{"choices":[{"delta":{"content":"c","reasoning_content":"r","tool_calls":'
        b'[{"index":0,"id":"x","function":{"name":"f","arguments":"{"}}]},"finish_reason":null}],"object":"x"}'
    )
    call = Delta("tool_call", "f{", call=CallPart(0, "x", "f", "{"))
    assert chunk.deltas() == [Delta("reasoning", "r"), Delta("content", "c"), call]
    assert chunk.finish_reason() is None


@pytest.mark.parametrize(
    ("payload", "deltas", "reason"),
    [
        (b'{"choices":[{"delta":{"role":"assistant","content":null}}]}', [], None),
        (b'{"choices":[{"delta":{"content":""}}]}', [], None),
        (b'{"choices":[{"delta":{},"finish_reason":"length"}]}', [], "length"),
        (b'{"choices":[],"usage":{"prompt_tokens":1}}', [], None),
        (b'{"choices":[{"delta":{"reasoning":"r"}}]}', [Delta("reasoning", "r")], None),
        (b'{"choices":[{"message":{"content":"w"},"finish_reason":"stop"}]}', [Delta("content", "w")], "stop"),
        (
            b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"1}"}}]}}]}',
            [Delta("tool_call", "1}", call=CallPart(0, arguments="1}"))],
            None,
        ),
        (b'{"choices":[{"delta":{"tool_calls":[{"id":"x"}]}}]}', [], None),
        (b"{}", [], None),
    ],
)
def test_what_a_chunk_holds(payload: bytes, deltas: list[Delta], reason: str | None) -> None:
    chunk = decode_chunk(payload)
    assert chunk.deltas() == deltas
    assert chunk.finish_reason() == reason


def test_calls_of_a_whole_reply_are_told_apart_by_their_place() -> None:
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    chunk = decode_chunk(msgspec.json.encode({"choices": [{"message": {"content": None, "tool_calls": calls}}]}))
    assert [delta.call for delta in chunk.deltas()] == [CallPart(0, "a", "a", "{}"), CallPart(1, "b", "b", "{}")]


@pytest.mark.parametrize("payload", [b"", b"<html>", b'{"choices":', b"[1]", b'"x"', b"\xff{}", b'{"choices":3}'])
def test_a_payload_that_is_no_chunk_is_shown(payload: bytes) -> None:
    with pytest.raises(EngineFault, match="the reply cannot be parsed"):
        decode_chunk(payload)


TIMINGS = {
    "cache_n": 132,
    "prompt_n": 1,
    "prompt_ms": 0.476,
    "prompt_per_second": 2100.0,
    "predicted_n": 24,
    "predicted_ms": 5.727,
}


def test_llama_server_says_everything() -> None:
    usage = {"prompt_tokens": 133, "completion_tokens": 24, "prompt_tokens_details": {"cached_tokens": 132}}
    assert evidence_of(usage, TIMINGS) == Evidence(
        prompt_tokens=133,
        cached_tokens=132,
        evaluated_tokens=1,
        generated_tokens=24,
        prefill_ns=476_000,
        decode_ns=5_727_000,
        sources={
            "prompt_tokens": "usage.prompt_tokens",
            "cached_tokens": "timings.cache_n",
            "evaluated_tokens": "timings.prompt_n",
            "generated_tokens": "timings.predicted_n",
            "prefill_ns": "timings.prompt_ms",
            "decode_ns": "timings.predicted_ms",
        },
    )


def test_timings_alone_are_enough_for_the_prompt() -> None:
    evidence = evidence_of(None, TIMINGS)
    assert evidence.prompt_tokens == 133
    assert evidence.sources["prompt_tokens"] == "timings.cache_n + timings.prompt_n"


def test_openai_counts_the_cached_tokens_in() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 64}}
    evidence = evidence_of(usage, None)
    assert (evidence.prompt_tokens, evidence.cached_tokens, evidence.evaluated_tokens) == (100, 64, 36)
    assert evidence.generated_tokens == 7
    assert evidence.sources["cached_tokens"] == "usage.prompt_tokens_details.cached_tokens"
    assert evidence.sources["evaluated_tokens"] == "prompt_tokens - cached_tokens"
    assert evidence.prefill_ns is None


def test_the_responses_form_is_read_too() -> None:
    usage = {"input_tokens": 100, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 64}}
    evidence = evidence_of(usage, None)
    assert (evidence.prompt_tokens, evidence.cached_tokens, evidence.evaluated_tokens) == (100, 64, 36)
    assert evidence.generated_tokens == 7


def test_anthropic_counts_the_cached_tokens_out() -> None:
    evidence = evidence_of({"input_tokens": 36, "cache_read_input_tokens": 64, "output_tokens": 7}, None)
    assert (evidence.prompt_tokens, evidence.cached_tokens, evidence.evaluated_tokens) == (100, 64, 36)
    assert evidence.sources["prompt_tokens"] == "usage.input_tokens + usage.cache_read_input_tokens"


def test_anthropic_counts_what_it_writes_to_the_cache_out_too() -> None:
    usage = {"input_tokens": 6, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 30, "output_tokens": 7}
    evidence = evidence_of(usage, None)
    assert (evidence.prompt_tokens, evidence.cached_tokens, evidence.evaluated_tokens) == (100, 64, 36)
    assert "cache_creation_input_tokens" in evidence.sources["prompt_tokens"]


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens_details": None}, {"prompt_tokens_details": {}}, {"prompt_tokens_details": 3}]
)
def test_absent_is_not_zero(usage: dict[str, Any] | None) -> None:
    assert evidence_of(usage, None) == Evidence()


def test_a_prompt_without_cached_tokens_leaves_them_unknown() -> None:
    evidence = evidence_of({"prompt_tokens": 100, "completion_tokens": 7}, None)
    assert evidence.prompt_tokens == 100
    assert evidence.cached_tokens is None
    assert evidence.evaluated_tokens is None


NO_COUNT = st.one_of(st.integers(max_value=-1), st.booleans(), st.text(), st.none(), st.floats(), st.just([1]))


@given(st.data())
def test_what_is_no_count_is_not_said(data: st.DataObject) -> None:
    usage: dict[str, Any] = {
        key: data.draw(NO_COUNT)
        for key in ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "cache_read_input_tokens")
    }
    usage["prompt_tokens_details"] = {"cached_tokens": data.draw(NO_COUNT)}
    timings = {key: data.draw(NO_COUNT) for key in ("cache_n", "prompt_n", "predicted_n")}
    timings |= {key: data.draw(st.sampled_from([-1, -0.5, True, "1", None])) for key in ("prompt_ms", "predicted_ms")}
    assert evidence_of(usage, timings) == Evidence()


@given(NO_COUNT)
def test_what_is_no_count_contradicts_nothing(second: Any) -> None:
    evidence = evidence_of({"prompt_tokens": 133, "prompt_tokens_details": {"cached_tokens": second}}, TIMINGS)
    assert evidence.conflict is None
    assert evidence.cached_tokens == 132


@pytest.mark.parametrize(
    ("usage", "timings", "words"),
    [
        ({"prompt_tokens": 140}, {"cache_n": 132, "prompt_n": 1}, "cached 132 + evaluated 1 is not prompt 140"),
        (
            {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 11}},
            None,
            "cached 11 is more than prompt 10",
        ),
        (
            {"prompt_tokens": 133, "prompt_tokens_details": {"cached_tokens": 5}},
            {"cache_n": 132, "prompt_n": 1},
            "timings.cache_n 132, usage says 5 cached",
        ),
    ],
)
def test_counts_that_contradict_each_other_are_said(
    usage: dict[str, Any], timings: dict[str, Any] | None, words: str
) -> None:
    conflict = evidence_of(usage, timings).conflict
    assert conflict is not None
    assert words in conflict


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_form_of_accounting_gives_the_same_counts(cached: int, evaluated: int) -> None:
    total = cached + evaluated
    forms = [
        evidence_of({"prompt_tokens": total, "prompt_tokens_details": {"cached_tokens": cached}}, None),
        evidence_of({"input_tokens": total, "input_tokens_details": {"cached_tokens": cached}}, None),
        evidence_of({"input_tokens": evaluated, "cache_read_input_tokens": cached}, None),
        evidence_of(None, {"cache_n": cached, "prompt_n": evaluated}),
        evidence_of({"prompt_tokens": total}, {"cache_n": cached, "prompt_n": evaluated}),
    ]
    for evidence in forms:
        assert evidence.conflict is None
        assert (evidence.prompt_tokens, evidence.cached_tokens, evidence.evaluated_tokens) == (total, cached, evaluated)
        said = {name for name in msgspec.structs.asdict(evidence) if name.endswith("_tokens")}
        assert {name for name in said if getattr(evidence, name) is not None} == set(evidence.sources)


OVERFLOW = (
    b'{"error":{"code":400,"message":"request (60008 tokens) exceeds the available context size (4096 tokens), '
    b'try increasing it","type":"exceed_context_size_error","n_prompt_tokens":60008,"n_ctx":4096}}'
)


def test_an_overflow_names_both_counts() -> None:
    error = http_error(400, OVERFLOW)
    assert isinstance(error, ContextOverflow)
    assert (error.prompt_tokens, error.context_tokens) == (60008, 4096)
    assert str(error) == "the prompt does not fit the context: 60008 tokens, context 4096"
    assert error.hint


def test_an_overflow_of_an_older_server_has_no_counts() -> None:
    error = http_error(500, b'{"error":{"message":"the request exceeds the available context size. try --ctx-size"}}')
    assert isinstance(error, ContextOverflow)
    assert (error.prompt_tokens, error.context_tokens) == (None, None)
    assert "the request exceeds" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, b"", RequestRejected, "HTTP 404: no message"),
        (502, b"", EngineFault, "HTTP 502: no message"),
        (401, b'{"error":{"message":"Invalid API Key"}}', RequestRejected, "HTTP 401: Invalid API Key"),
        (500, b'{"error":"out of memory"}', EngineFault, 'HTTP 500: {"error":"out of memory"}'),
        (503, b"<html>\r\n<h1>Bad\n gateway</h1></html>", EngineFault, "HTTP 503: <html> <h1>Bad gateway</h1></html>"),
        (400, b"\xff\xfe", RequestRejected, "HTTP 400: \ufffd\ufffd"),
        (400, b"[]", RequestRejected, "HTTP 400: []"),
        (400, b'{"error":{"message":7}}', RequestRejected, 'HTTP 400: {"error":{"message":7}}'),
        (500, b"x" * 1000, EngineFault, "HTTP 500: " + "x" * 300),
    ],
)
def test_an_http_error_is_one_line(status: int, body: bytes, kind: type[EngineError], words: str) -> None:
    error = http_error(status, body)
    assert type(error) is kind
    assert str(error) == words
    assert getattr(error, "status", status) == status


@given(st.integers(400, 599), st.binary(max_size=100))
def test_any_error_reply_becomes_an_engine_error_of_one_line(status: int, body: bytes) -> None:
    error = http_error(status, body)
    assert isinstance(error, RequestRejected if status < 500 else EngineFault)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 400, "message": "no"}, RequestRejected),
        ({"code": 500, "message": "no"}, EngineFault),
        ({"message": "no"}, EngineFault),
        ("no", EngineFault),
        (msgspec.json.decode(OVERFLOW)["error"], ContextOverflow),
    ],
)
def test_an_error_inside_a_stream(error: Any, kind: type[EngineError]) -> None:
    assert type(stream_error(error)) is kind
    assert re.search("no|fit the context", str(stream_error(error)))


@pytest.mark.parametrize(
    ("name", "slot", "lines"),
    [
        ("cold", 0, ["selected slot by LRU", "looking for", "cached n_tokens = 0, memory_seq_rm [0, end)"]),
        ("hit", 0, ["checking sim", "selected slot by LCP", "cached n_tokens = 1823, memory_seq_rm [1823, end)"]),
        (
            "restored-from-ram",
            0,
            [
                *(
                    "checking sim",
                    "selected slot by LRU",
                    "saving prompt with length 2228",
                    "looking for better prompt",
                ),
                *("prompt with length    1831", "prompt with length    2228", "found better prompt"),
                "cached n_tokens = 1823",
            ],
        ),
        (
            "restored-checkpoint",
            0,
            [
                *("checking sim", "selected slot by LCP", "restored context", "cached n_tokens = 1820"),
                *("superseding", "created context"),
            ],
        ),
        ("four-slots-overflow", 3, ["selected slot by LRU", "looking for better prompt"]),
    ],
)
def test_a_real_log_is_cut_down_to_the_cache(name: str, slot: int, lines: list[str]) -> None:
    kept, found = cache_log((LOGS / f"{name}.txt").read_text())
    assert found == slot
    assert len(kept) == len(lines)
    for line, words in zip(kept, lines, strict=True):
        assert words in line


def test_a_real_log_of_a_lost_window_says_why() -> None:
    kept, slot = cache_log((LOGS / "full-reprocessing.txt").read_text())
    assert slot == 0
    first = next(line for line in kept if "memory_seq_rm" in line)
    assert first.startswith("id  0 | task 21 | cached n_tokens = 0")
    assert sum("forcing full prompt re-processing" in line for line in kept) == 1
    assert sum("erased invalidated context checkpoint" in line for line in kept) == 4


def test_a_log_without_slots_names_none() -> None:
    assert cache_log("") == ((), None)
    assert cache_log("0.00.001 I srv init: listening\nid  2 | task -1 | new slot") == ((), None)


def test_no_more_lines_are_kept_than_needed() -> None:
    line = "id  1 | task 7 | erased invalidated context checkpoint (pos_min = 3)\n"
    kept, slot = cache_log(line * (LOG_LINES_KEPT + 9))
    assert len(kept) == LOG_LINES_KEPT
    assert slot == 1


def test_the_count_that_every_batch_repeats_is_kept_once_a_task() -> None:
    line = "id  1 | task {} | cached n_tokens = {}, memory_seq_rm [3, end)\n"
    kept, _ = cache_log(line.format(7, 3) + line.format(7, 515) + line.format(8, 0))
    assert kept == (line.format(7, 3).strip(), line.format(8, 0).strip())


def test_lines_of_the_server_lose_what_comes_before_them() -> None:
    words = "prompt with length    1511, lcp =     631, f_keep = 0.418, f_sim = 0.958"
    kept, _ = cache_log(
        f"0.02.888.857 I srv          load:    - {words}\nsrv   prompt_save:  - saving prompt with length 9"
    )
    assert kept == (words, "saving prompt with length 9")


def test_an_older_llama_server_without_cache_n_is_read_by_difference() -> None:
    evidence = evidence_of({"prompt_tokens": 140}, {"prompt_n": 40})
    assert (evidence.cached_tokens, evidence.evaluated_tokens) == (100, 40)
    assert evidence.sources["cached_tokens"] == "usage.prompt_tokens - timings.prompt_n"
    assert evidence_of({"prompt_tokens": 30}, {"prompt_n": 40}).cached_tokens is None


@pytest.mark.parametrize(
    "error",
    [
        {"message": "This model's maximum context length is 4096 tokens. However, you requested 35011 tokens."},
        {"message": "too long for a maximum context length is 4096 tokens", "code": "context_length_exceeded"},
    ],
)
def test_an_overflow_in_openais_words_is_named(error: dict[str, str]) -> None:
    found = http_error(400, msgspec.json.encode({"error": error}))
    assert isinstance(found, ContextOverflow)
    assert found.context_tokens == 4096
    assert found.prompt_tokens is None
    without = http_error(400, b'{"error": {"message": "no", "code": "context_length_exceeded"}}')
    assert isinstance(without, ContextOverflow)
    assert without.context_tokens is None
