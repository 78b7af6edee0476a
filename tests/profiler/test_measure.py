"""Measuring one request, asserted to the nanosecond: on the simulated engine, and on engines that misbehave."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import (
    CallPart,
    Delta,
    EngineDied,
    Event,
    Evidence,
    Facts,
    JsonObject,
    Opened,
    Prompt,
    Request,
    RequestRejected,
    Stop,
)
from backends.scripted import Options, Scripted, SimulatedClock
from profiler.ledger import Match
from profiler.measure import Measurement, clock_of, measure
from profiler.records import Failure, Reply, RequestRecord, Stamps, ToolCall
from profiler.verdict import judge

MS = 1_000_000
USER: JsonObject = {"role": "user", "content": "x" * 267}
"""89 tokens; with the 11 of the template a prompt of 100."""


def record_of(measured: Measurement) -> RequestRecord:
    return RequestRecord(
        request_id=1,
        session="s",
        conversation="c",
        turn=0,
        repeat=0,
        fidelity="rehearse",
        forcing="none",
        sent_unix_ns=0,
        stamps=measured.stamps,
        evidence=measured.evidence,
        reply=measured.reply,
        verdict=judge(Match(None, None, False), measured.evidence),
        error=measured.error,
    )


class Tape:
    """An engine that plays events; an integer lets that many ns pass, an exception is raised."""

    def __init__(self, *events: Event | int | Exception) -> None:
        self._events = events
        self._clock = SimulatedClock()
        self.closed_midway = False

    def stream(self, request: Request) -> Iterator[Event]:
        try:
            for event in self._events:
                if isinstance(event, int):
                    self._clock.advance(event)
                elif isinstance(event, Exception):
                    raise event
                else:
                    yield event
        except GeneratorExit:
            self.closed_midway = True
            raise

    def clock(self) -> int:
        return self._clock()

    def render(self, request: Request) -> Prompt | None:
        return None

    def facts(self) -> Facts:
        return Facts(engine="tape")

    def pids(self) -> tuple[int, ...]:
        return ()

    def close(self) -> None:
        return None


def test_a_hundred_tokens_take_eleven_milliseconds_to_the_first() -> None:
    engine = Scripted(Options())
    assert len(engine.render(Request((USER,))).token_ids) == 100
    record = record_of(measure(engine, Request((USER,), max_tokens=5)))
    assert record.ttfr_ns == 1_000_000
    assert record.ttft_ns == 11_000_000
    assert record.ttfo_ns == 11_000_000
    assert record.e2e_ns == 51_000_000
    assert record.tpot_ns == 10_000_000
    assert record.chunk_gaps_ns == (10 * MS,) * 4
    assert record.prefill_tokens_per_s == 10_000
    assert record.client_prefill_tokens_per_s == pytest.approx(100 / 0.011)
    assert record.decode_tokens_per_s == record.engine_decode_tokens_per_s == 100
    assert record.decode_disagreement == 0
    assert record.reply.stop_reason == "length"
    assert record.reply.token_ids is not None
    assert len(record.reply.token_ids) == 5


def test_a_cached_prompt_pays_for_one_token() -> None:
    engine = Scripted(Options())
    for expected_ns in (11_000_000, 1_100_000):
        assert record_of(measure(engine, Request((USER,), max_tokens=2))).ttft_ns == expected_ns


def test_reasoning_first_is_output_later() -> None:
    measured = measure(Scripted(Options(), "reasoning"), Request((USER,), max_tokens=99))
    record = record_of(measured)
    thought = "<think>\nfirst look, then answer\n</think>\n\n"
    assert measured.reply.text == {"reasoning": thought, "content": "Done."}
    assert measured.evidence.generated_tokens == 21  # 18 of reasoning, 2 of content, the end token
    assert record.ttft_ns == 11 * MS
    assert record.ttfo_ns == 11 * MS + 18 * 10 * MS
    assert record.stamps.last_delta_ns == 11 * MS + 19 * 10 * MS
    assert record.e2e_ns == 11 * MS + 20 * 10 * MS


def test_a_tool_call_is_the_first_text_and_output() -> None:
    record = record_of(measure(Scripted(Options(), "tool-call"), Request((USER,), max_tokens=99)))
    assert record.ttft_ns == record.ttfo_ns == 11 * MS
    assert list(record.reply.text) == ["tool_call"]
    assert record.reply.stop_reason == "tool_calls"


def test_an_empty_output_has_no_first_text() -> None:
    record = record_of(measure(Scripted(Options(), "empty"), Request((USER,))))
    assert record.ttfr_ns == 1 * MS
    assert (record.ttft_ns, record.ttfo_ns, record.tpot_ns) == (None, None, None)
    assert record.decode_tokens_per_s is None
    assert record.e2e_ns == 11 * MS
    assert record.reply.text == {}
    assert record.reply.token_ids is None
    assert record.error is None


def test_a_reply_that_ended_by_itself_decodes_at_the_same_rate() -> None:
    record = record_of(measure(Scripted(Options(), "reasoning"), Request((USER,), max_tokens=99)))
    assert record.engine_decode_tokens_per_s == 100
    assert record.decode_tokens_per_s == pytest.approx(100)


def test_one_token_has_no_time_per_token() -> None:
    record = record_of(measure(Scripted(Options()), Request((USER,), max_tokens=1)))
    assert record.ttft_ns == record.e2e_ns == 11 * MS
    assert record.tpot_ns is None
    assert record.decode_tokens_per_s is None
    assert record.engine_decode_tokens_per_s is None
    assert record.chunk_gaps_ns == ()


def test_a_reply_that_was_not_streamed_arrives_at_once() -> None:
    record = record_of(measure(Scripted(Options()), Request((USER,), max_tokens=5, stream=False)))
    assert record.ttfr_ns == 1 * MS
    assert record.ttft_ns == record.e2e_ns == 51 * MS
    assert record.decode_tokens_per_s is None
    assert record.engine_decode_tokens_per_s == 100


def test_an_error_midway_keeps_what_came_before_it() -> None:
    engine = Tape(3, Opened(), 4, Delta("content", "ab"), 5, EngineDied("gone"))
    measured = measure(engine, Request((USER,)))
    assert measured.error == Failure("EngineDied", "gone")
    assert measured.reply.text == {"content": "ab"}
    assert measured.stamps == Stamps(0, 3, 7, 7, 7, None, (7,))
    assert measured.evidence == Evidence()
    assert record_of(measured).e2e_ns is None


def test_a_request_that_is_refused_at_once_has_only_its_start() -> None:
    measured = measure(Tape(7, RequestRejected("no")), Request((USER,)))
    assert measured.error == Failure("RequestRejected", "no")
    assert measured.stamps == Stamps(sent_ns=0)


def test_without_evidence_nothing_is_known_of_tokens() -> None:
    record = record_of(
        measure(Tape(2, Delta("content", "a"), 3, Delta("content", "b"), Stop("stop")), Request((USER,)))
    )
    assert record.evidence == Evidence()
    assert record.ttfr_ns == record.ttft_ns == 2
    assert record.e2e_ns == 5
    assert (record.tpot_ns, record.prefill_tokens_per_s, record.decode_tokens_per_s) == (None, None, None)
    assert record.verdict.cache_class == "unknown"


@pytest.mark.parametrize("reverse", [False, True])
def test_evidence_and_stop_come_in_either_order(reverse: bool) -> None:
    end: list[Event] = [Evidence(prompt_tokens=4), Stop("stop")]
    measured = measure(Tape(1, Delta("content", "a"), 1, *(reversed(end) if reverse else end)), Request((USER,)))
    assert measured.evidence.prompt_tokens == 4
    assert measured.reply.stop_reason == "stop"
    assert measured.stamps.done_ns == 2


def test_the_end_is_the_stop_and_not_the_evidence_read_after_it() -> None:
    measured = measure(Tape(1, Delta("content", "a"), 1, Stop("stop"), 50, Evidence()), Request((USER,)))
    assert measured.stamps.done_ns == 2


def test_without_a_stop_the_end_is_the_end_of_the_stream() -> None:
    measured = measure(Tape(1, Delta("content", "a"), 9), Request((USER,)))
    assert measured.stamps.done_ns == 10
    assert measured.reply.stop_reason is None


def test_an_engine_that_stamps_its_events_is_believed() -> None:
    engine = Tape(
        100,
        Opened(at_ns=10),
        Delta("content", "a", (5,), at_ns=20),
        100,
        Delta("content", "b", (6,), at_ns=30),
        Stop("stop", 40),
    )
    measured = measure(engine, Request((USER,)))
    assert measured.stamps == Stamps(0, 10, 20, 20, 30, 40, (20, 30))
    assert measured.reply.token_ids == (5, 6)


def test_a_delta_without_text_is_a_sign_but_no_text() -> None:
    measured = measure(
        Tape(1, Delta("content", "", (9,)), 1, Delta("content", "é", (10,)), Stop("stop")), Request((USER,))
    )
    assert measured.stamps.first_sign_ns == 1
    assert measured.stamps.first_delta_ns == 2
    assert measured.stamps.first_output_ns == 2
    assert measured.stamps.deltas_ns == (2,)
    assert measured.reply.token_ids == (9, 10)


def test_token_ids_are_known_only_if_every_delta_says_them() -> None:
    for deltas in ([(1,), None], [None, (1,)]):
        measured = measure(Tape(*(Delta("content", "a", ids) for ids in deltas), Stop("stop")), Request((USER,)))
        assert measured.reply.token_ids is None


def reply_of(*parts: CallPart) -> Reply:
    deltas = (Delta("tool_call", part.name + part.arguments, call=part) for part in parts)
    return measure(Tape(*deltas, Stop("tool_calls")), Request((USER,))).reply


PIECES = st.lists(st.text(max_size=5), min_size=1, max_size=4)


@given(calls=st.lists(st.tuples(st.text(min_size=1, max_size=5), PIECES), max_size=4), data=st.data())
def test_parts_put_together_are_the_whole_calls(calls: list[tuple[str, list[str]]], data: st.DataObject) -> None:
    """However the parts of parallel calls are mixed, as long as each call's own stay in order."""
    streams = [
        [CallPart(at, f"id{at}", name), *(CallPart(at, arguments=piece) for piece in pieces)]
        for at, (name, pieces) in enumerate(calls)
    ]
    expected = tuple(ToolCall(f"id{at}", name, "".join(pieces)) for at, (name, pieces) in enumerate(calls))
    begun = [parts.pop(0) for parts in streams]
    mixed = [streams[at].pop(0) for at in data.draw(st.permutations([p.index for parts in streams for p in parts]))]
    assert reply_of(*begun, *mixed).calls == expected


def test_another_id_begins_another_call_where_no_index_is_said() -> None:
    parts = (
        CallPart(0, "a", "f"),
        CallPart(0, arguments="{}"),
        CallPart(0, "b", "g"),
        CallPart(0, "b", arguments="[]"),
    )
    reply = reply_of(*parts)
    assert reply.calls == (ToolCall("a", "f", "{}"), ToolCall("b", "g", "[]"))
    assert reply.text == {"tool_call": "f{}g[]"}


def test_ctrl_c_closes_the_stream_and_propagates() -> None:
    engine = Tape(Opened(), Delta("content", "a"), Delta("content", "b"))
    ticks = 0

    def clock() -> int:
        nonlocal ticks
        ticks += 1
        if ticks == 3:
            raise KeyboardInterrupt
        return ticks

    with pytest.raises(KeyboardInterrupt):
        measure(engine, Request((USER,)), clock)
    assert engine.closed_midway


def test_a_fault_of_our_own_is_not_recorded_as_the_engines() -> None:
    with pytest.raises(ZeroDivisionError):
        measure(Tape(ZeroDivisionError()), Request((USER,)))


def test_the_clock_is_the_engines_if_it_simulates_time() -> None:
    class Timeless:
        stream, render, facts, pids, close = Tape.stream, Tape.render, Tape.facts, Tape.pids, Tape.close

    engine = Tape(5, Stop("stop"))
    assert clock_of(engine)() == 0
    assert clock_of(Timeless()) is time.perf_counter_ns


def test_a_given_clock_goes_before_the_engines() -> None:
    measured = measure(Tape(5, Delta("content", "a"), Stop("stop")), Request((USER,)), iter(range(100, 200)).__next__)
    assert measured.stamps.sent_ns == 100
    assert measured.stamps.first_delta_ns == 101
