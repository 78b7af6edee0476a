"""The simulated engine: every time and count is worked out by hand here."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import open_engine, parse_target
from backends.base import (
    ContextOverflow,
    Delta,
    Engine,
    EngineFault,
    Event,
    Evidence,
    Forcer,
    JsonObject,
    KeepsTime,
    Opened,
    Request,
    RequestRejected,
    Resetter,
    Stop,
    TargetError,
)
from backends.scripted import Options, Scripted, SimulatedClock
from backends.scripted_text import tokenize

MS = 1_000_000
USER: JsonObject = {"role": "user", "content": "one two"}
ANSWER: JsonObject = {"role": "assistant", "content": "sun oak"}
REQUEST = Request(messages=(USER,), max_tokens=3)
PROMPT = "<|im_start|>user\none two<|im_end|>\n<|im_start|>assistant\n"
PROMPT_TOKENS = 13


def evidence_of(events: list[Event]) -> Evidence:
    return next(e for e in events if isinstance(e, Evidence))


def cached(engine: Scripted, request: Request) -> int | None:
    return evidence_of(list(engine.stream(request))).cached_tokens


def test_the_prompt_is_rendered_and_counted_by_hand() -> None:
    prompt = Scripted(Options()).render(REQUEST)
    assert prompt.text == PROMPT
    pieces = ["<|im_start|>", "use", "r", "\n", "one", " two", "<|im_end|>", "\n", "<|im_start|>", "ass", "ist"]
    expected = [tokenize(piece)[0] for piece in [*pieces, "ant", "\n"]]
    assert list(prompt.token_ids) == expected
    assert len(expected) == PROMPT_TOKENS


def test_one_request_event_by_event() -> None:
    clock = SimulatedClock()
    engine = Scripted(Options(), clock=clock)
    seen: list[tuple[int, Event]] = []
    for event in engine.stream(REQUEST):
        seen.append((clock(), event))
    first_ns = 1 * MS + PROMPT_TOKENS * MS // 10
    assert [at for at, _ in seen] == [
        1 * MS,
        first_ns,
        first_ns + 10 * MS,
        first_ns + 20 * MS,
        first_ns + 20 * MS,
        first_ns + 20 * MS,
    ]
    assert [type(event) for _, event in seen] == [Opened, Delta, Delta, Delta, Evidence, Stop]
    evidence = evidence_of([event for _, event in seen])
    assert evidence.prompt_tokens == evidence.evaluated_tokens == PROMPT_TOKENS
    assert evidence.cached_tokens == 0
    assert evidence.generated_tokens == 3
    assert evidence.prefill_ns == PROMPT_TOKENS * MS // 10
    assert evidence.decode_ns == 20 * MS
    assert seen[-1][1] == Stop("length")


def test_it_offers_every_ability() -> None:
    engine = open_engine(parse_target("scripted:"))
    for ability in (Engine, Forcer, Resetter, KeepsTime):
        assert isinstance(engine, ability)


def test_an_identical_repeat_evaluates_one_token() -> None:
    engine = Scripted(Options())
    assert [cached(engine, REQUEST) for _ in range(2)] == [0, PROMPT_TOKENS - 1]


def test_a_continuation_reuses_all_but_the_last_token_that_was_sampled() -> None:
    engine = Scripted(Options())
    forced = engine.forced(REQUEST, ANSWER)
    assert forced is not None
    events = list(engine.stream(Request((USER,), forced=forced)))
    assert "".join(e.text for e in events if isinstance(e, Delta)) == "sun oak"
    assert evidence_of(events).generated_tokens == 3  # sun, oak and the end token
    assert events[-1] == Stop("stop")
    # prompt, sun and oak are evaluated; the end token was only sampled
    assert cached(engine, Request((USER, ANSWER, USER))) == PROMPT_TOKENS + 2


def test_a_cache_that_cannot_be_trimmed_can_only_be_extended() -> None:
    engine = Scripted(Options(trimmable=False))
    forced = engine.forced(REQUEST, ANSWER)
    longer = Request((USER, ANSWER, USER))
    assert cached(engine, Request((USER,), forced=forced)) == 0
    assert cached(engine, longer) == PROMPT_TOKENS + 2
    assert cached(engine, longer) == 0
    assert engine.facts().cache_kind == "recurrent"


def test_it_can_leave_the_cached_tokens_unsaid() -> None:
    engine = Scripted(Options(report="none"))
    evidence = evidence_of(list(engine.stream(REQUEST)))
    assert evidence.cached_tokens is None
    assert evidence.evaluated_tokens is None
    assert evidence.prompt_tokens == PROMPT_TOKENS
    assert "cached_tokens" not in evidence.sources


def test_two_slots_keep_two_conversations_and_one_does_not() -> None:
    a = Request(({"role": "user", "content": "a" * 300},), max_tokens=1)
    b = Request(({"role": "user", "content": "b" * 300},), max_tokens=1)
    one, two = Scripted(Options(slots=1)), Scripted(Options(slots=2))
    shared_head = 4  # <|im_start|>user\n
    assert [cached(one, r) for r in (a, b, a)] == [0, shared_head, shared_head]
    length = len(two.render(a).token_ids)
    assert [cached(two, r) for r in (a, b, a, b)] == [0, 0, length - 1, length - 1]


def test_the_least_recently_used_slot_is_given_away() -> None:
    requests = [Request(({"role": "user", "content": c * 300},), max_tokens=1) for c in "abc"]
    engine = Scripted(Options(slots=2))
    a, b, c = requests
    slots = [evidence_of(list(engine.stream(r))).slot for r in (a, b, a, c)]
    assert slots == [0, 1, 0, 1]


def test_reset_forgets_every_prompt() -> None:
    engine = Scripted(Options())
    list(engine.stream(REQUEST))
    engine.reset()
    assert cached(engine, REQUEST) == 0


def test_a_stream_closed_midway_leaves_what_was_evaluated() -> None:
    engine = Scripted(Options())
    stream = engine.stream(Request((USER,), max_tokens=100))
    ids: list[int] = []
    for event in stream:
        if isinstance(event, Delta):
            ids += event.token_ids or ()
        if len(ids) == 3:
            break
    stream.close()  # type: ignore[attr-defined]
    assert cached(engine, REQUEST) == PROMPT_TOKENS - 1
    assert engine.clock() > 0


def test_an_overflow_names_both_counts_and_costs_the_overhead() -> None:
    engine = Scripted(Options(max_context=PROMPT_TOKENS))
    with pytest.raises(ContextOverflow) as caught:
        list(engine.stream(REQUEST))
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (PROMPT_TOKENS, PROMPT_TOKENS)
    assert engine.clock() == 1 * MS


def test_the_context_ends_a_reply() -> None:
    engine = Scripted(Options(max_context=PROMPT_TOKENS + 2))
    events = list(engine.stream(Request((USER,), max_tokens=50)))
    assert evidence_of(events).generated_tokens == 2
    assert events[-1] == Stop("length")


@pytest.mark.parametrize(
    ("name", "kinds", "reason"),
    [
        ("words", ["content"], "length"),
        ("reasoning", ["reasoning", "content"], "stop"),
        ("tool-call", ["tool_call"], "tool_calls"),
        ("empty", [], "stop"),
    ],
)
def test_named_replies(name: str, kinds: list[str], reason: str) -> None:
    engine = open_engine(parse_target(f"scripted:{name}"))
    whole = list(engine.stream(Request((USER,), max_tokens=60, stream=False)))
    assert [e.kind for e in whole if isinstance(e, Delta)] == kinds
    assert whole[-1] == Stop(reason)
    streamed = list(engine.stream(Request((USER,), max_tokens=60)))
    assert "".join(e.text for e in streamed if isinstance(e, Delta)) == "".join(
        e.text for e in whole if isinstance(e, Delta)
    )
    assert engine.facts().model == name


def test_tools_calls_and_reasoning_reach_the_prompt_in_key_order() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": 2}'}}
    assistant = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]}
    request = Request(
        (
            {"role": "system", "content": "S"},
            USER,
            assistant,
            {"role": "tool", "content": [{"type": "text", "text": "R"}]},
        ),
        tools=({"zeta": 1, "alpha": {"y": 1, "x": 2}},),
    )
    text = Scripted(Options()).render(request).text
    assert '<tools>\n{"zeta": 1, "alpha": {"y": 1, "x": 2}}\n</tools>' in text
    assert (
        '<|im_start|>assistant\n<think>\nhm\n</think>\n\n<tool_call>\n{"name": "f", "arguments": {"b": 1, "a": 2}}\n'
        "</tool_call><|im_end|>\n" in text
    )
    assert "<|im_start|>user\n<tool_response>\nR\n</tool_response><|im_end|>\n" in text


@pytest.mark.parametrize(
    "reply", [{"role": "assistant", "content": ""}, {"role": "assistant", "content": "<|im_end|>"}]
)
def test_what_cannot_be_forced_is_refused(reply: JsonObject) -> None:
    assert Scripted(Options()).forced(REQUEST, reply) is None


@pytest.mark.parametrize(
    "message", [{"content": "x"}, {"role": "user", "content": 3}, {"role": "user", "content": [1]}]
)
def test_a_bad_message_is_rejected(message: JsonObject) -> None:
    with pytest.raises(RequestRejected):
        list(Scripted(Options()).stream(Request((message,))))


def test_a_closed_engine_serves_nothing() -> None:
    engine = Scripted(Options())
    engine.close()
    engine.close()
    with pytest.raises(EngineFault, match="closed"):
        list(engine.stream(REQUEST))


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("scripted:word", "no reply 'word'", "did you mean words?"),
        ("scripted:?slot=2", "no option 'slot'", "did you mean slots?"),
        ("scripted:?slots=0", "slots=0", ">= 1"),
        ("scripted:http://127.0.0.1:1", "no address", "write scripted:"),
    ],
)
def test_a_wrong_target_is_named(target: str, message: str, hint: str) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        open_engine(parse_target(target))
    assert hint in (caught.value.hint or "")


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=6))
def test_a_longer_history_extends_the_ids(texts: list[str]) -> None:
    engine = Scripted(Options())
    history: list[JsonObject] = []
    prompts: list[list[int]] = []
    for text in texts:
        history += [{"role": "user", "content": text}]
        request = Request(tuple(history))
        forced = engine.forced(request, {"role": "assistant", "content": text})
        ids = list(engine.render(request).token_ids)
        prompts += [ids, ids + list(forced.token_ids if forced else [])]
        history += [{"role": "assistant", "content": text}]
    markers = any("<|im_" in text for text in texts)
    assert markers or all(longer[: len(shorter)] == shorter for shorter, longer in pairwise(prompts))


@given(st.text(), st.text())
def test_different_texts_have_different_ids(a: str, b: str) -> None:
    assert (tokenize(a) == tokenize(b)) == (a == b)


@given(st.text())
def test_ids_fit_the_array_that_carries_them(text: str) -> None:
    assert all(0 < token_id < 2**31 for token_id in tokenize(text))
