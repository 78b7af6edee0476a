"""What every engine must do, whatever it is: one suite for all adapters. `test_contract` runs it on each of them.

Each check takes a running engine and leaves it usable. A check that needs an ability (`Forcer`, `Resetter`) skips an
engine without it. Whatever a check sends begins with words of its own, so that no other check has warmed it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import cast

import msgspec
import psutil
import pytest

from backends.base import (
    ContextOverflow,
    Delta,
    Engine,
    EngineError,
    Event,
    Evidence,
    Forced,
    Forcer,
    JsonObject,
    Opened,
    Request,
    Resetter,
    Stop,
)

Check = Callable[[Engine], None]

TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Read a file.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "line": {"type": "integer"}},
            "required": ["path"],
        },
    },
}
CALL: JsonObject = {
    "role": "assistant",
    "content": "",
    "reasoning_content": "I should look at it first.",
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "read_file", "arguments": '{"path": "core/frame.py"}'},
        }
    ],
}
RESULT: JsonObject = {"role": "tool", "tool_call_id": "call_1", "content": "def frame():\n    return 1\n"}
ANSWER: JsonObject = {"role": "assistant", "content": "The file holds one function, frame."}
SHARED_HEAD_TOKENS = 16
"""What the template puts before the first word of a message, at most."""


class Served:
    """One reply: its events in order, and the same sorted by kind."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.events = list(events)
        self.deltas = [event for event in self.events if isinstance(event, Delta)]
        evidence = [event for event in self.events if isinstance(event, Evidence)]
        assert len(evidence) <= 1, "evidence is given at most once"
        self.evidence = evidence[0] if evidence else Evidence()
        self.stops = [event for event in self.events if isinstance(event, Stop)]
        self.content = "".join(delta.text for delta in self.deltas if delta.kind == "content")
        self.text = "".join(delta.text for delta in self.deltas)


def conversation(salt: str, *further: JsonObject, tools: bool = False, max_tokens: int = 8) -> Request:
    """A request that no cache has seen: the salt comes first."""
    system = {
        "role": "system",
        "content": f"{salt} is what this is about. " + "You read files and answer briefly. " * 6,
    }
    user = {"role": "user", "content": "What is in core/frame.py?"}
    return Request((system, user, *further), (TOOL,) if tools else (), max_tokens=max_tokens)


def is_usable(engine: Engine, salt: str) -> None:
    """The engine still serves a request to its end."""
    assert len(Served(engine.stream(conversation(f"after {salt}", max_tokens=2))).stops) == 1


def forcer_of(engine: Engine) -> Forcer:
    if not isinstance(engine, Forcer):
        pytest.skip("cannot force its output")
    return engine


def forced_reply(engine: Engine, request: Request, reply: JsonObject) -> tuple[Request, Forced]:
    forced = forcer_of(engine).forced(request, reply)
    assert forced is not None, "a plain reply can be forced"
    return msgspec.structs.replace(request, forced=forced), forced


def events_come_in_order(engine: Engine) -> None:
    """`Opened?`, deltas, then evidence and stop in either order, once each."""
    for stream in (True, False):
        in_order(Served(engine.stream(msgspec.structs.replace(conversation("order"), stream=stream))))


def in_order(served: Served) -> None:
    kinds = [type(event) for event in served.events]
    assert Opened not in kinds[1:], "the first sign comes first"
    assert len(served.stops) == 1
    assert served.stops[0].reason
    tail = kinds[max((i for i, kind in enumerate(kinds) if kind is Delta), default=-1) + 1 :]
    assert set(tail) <= {Opened, Evidence, Stop}
    # mlx_lm.server drops a tool call that `max_tokens` cut off: all that was generated, and nothing is sent.
    assert served.deltas or served.evidence.generated_tokens, "the model says something"


def stamps_do_not_go_back(engine: Engine) -> None:
    """An engine that stamps its events stamps them in order."""
    events = Served(engine.stream(conversation("stamps"))).events
    stamps = [event.at_ns for event in events if not isinstance(event, Evidence) and event.at_ns is not None]
    assert stamps == sorted(stamps)


def a_reply_is_the_same_streamed_and_whole(engine: Engine) -> None:
    request, _ = forced_reply(engine, conversation("whole"), ANSWER)
    streamed, whole = (
        Served(engine.stream(msgspec.structs.replace(request, stream=stream))) for stream in (True, False)
    )
    assert streamed.text == whole.text
    assert streamed.stops[0].reason == whole.stops[0].reason
    assert streamed.evidence.generated_tokens == whole.evidence.generated_tokens


def evidence_adds_up(engine: Engine) -> None:
    """Counts agree with each other, each names its source, and what is not said is `None`."""
    for _ in range(2):
        adds_up(Served(engine.stream(conversation("evidence", tools=True))).evidence)


def adds_up(said: Evidence) -> None:
    assert said.conflict is None
    if None not in (said.prompt_tokens, said.cached_tokens, said.evaluated_tokens):
        assert said.prompt_tokens == (said.cached_tokens or 0) + (said.evaluated_tokens or 0)
    counts = {name: value for name, value in msgspec.structs.asdict(said).items() if isinstance(value, int)}
    assert all(value >= 0 for value in counts.values())
    measured = {name for name in counts if name.endswith(("_tokens", "_ns"))}
    assert measured <= set(said.sources), "each figure names its source"
    assert set(said.sources) <= set(counts), "what is not said has no source"


def max_tokens_ends_a_reply(engine: Engine) -> None:
    served = Served(engine.stream(conversation("length", max_tokens=3)))
    generated = served.evidence.generated_tokens
    assert generated is None or generated <= 3
    if served.stops[0].reason == "length":
        assert generated in (None, 3)


def a_repeat_is_not_cached_less(engine: Engine) -> None:
    cached = [Served(engine.stream(conversation("repeat"))).evidence.cached_tokens for _ in range(3)]
    if None in cached:
        pytest.skip("does not say what it reused")
    known = [count for count in cached if count is not None]
    assert known == sorted(known)
    assert known[0] <= SHARED_HEAD_TOKENS


def a_continuation_reuses_the_prompt_and_the_reply(engine: Engine) -> None:
    """Append-only turns: all but the last generated token, which was sampled and never evaluated, is in the cache."""
    first, forced = forced_reply(engine, conversation("append", tools=True), ANSWER)
    sent = engine.render(first)
    assert sent is not None
    before = Served(engine.stream(first)).evidence
    after = Served(engine.stream(conversation("append", ANSWER, {"role": "user", "content": "Go on."}, tools=True)))
    if before.cached_tokens is None or after.evidence.cached_tokens is None:
        pytest.skip("does not say what it reused")
    assert before.cached_tokens <= SHARED_HEAD_TOKENS
    step = engine.facts().granularity_tokens or 1
    assert after.evidence.cached_tokens >= len(sent.token_ids) + len(forced.token_ids) - step


def a_forced_reply_comes_out_exactly(engine: Engine) -> None:
    request, forced = forced_reply(engine, conversation("forced", tools=True), ANSWER)
    served = Served(engine.stream(request))
    assert served.content == served.text == ANSWER["content"] == forced.text
    ids = [token_id for delta in served.deltas for token_id in delta.token_ids or ()]
    assert not ids or tuple(ids[: len(forced.token_ids)]) == forced.token_ids
    assert served.evidence.generated_tokens in (None, len(forced.token_ids), len(forced.token_ids) + 1)
    assert served.stops[0].reason == "stop"


def a_forced_tool_call_comes_out_whole(engine: Engine) -> None:
    """By whatever kinds an engine splits it; only the tags and the space around them may be left out."""
    request = conversation("forced call", tools=True)
    forced = forcer_of(engine).forced(request, CALL)
    if forced is None:
        pytest.skip("its template changes this reply in the next turn")
    text = Served(engine.stream(msgspec.structs.replace(request, forced=forced))).text
    for part in ("I should look at it first.", '"read_file"', '{"path": "core/frame.py"}'):
        assert part in text


def a_forced_reply_is_what_the_template_puts(engine: Engine) -> None:
    """The next turn's prompt begins with this prompt and the forced ids."""
    request = conversation("template", tools=True)
    _, forced = forced_reply(engine, request, ANSWER)
    sent = engine.render(request)
    following = engine.render(conversation("template", ANSWER, {"role": "user", "content": "Go on."}, tools=True))
    assert sent is not None
    assert following is not None
    extended = [*sent.token_ids, *forced.token_ids, forced.end_token_id]
    assert list(following.token_ids[: len(extended)]) == extended


def other_scripts_come_out_whole_or_are_refused(engine: Engine) -> None:
    """A reply whose characters take several tokens: exact, or `None` from `forced`; never a broken engine."""
    reply: JsonObject = {"role": "assistant", "content": "Voilà – déjà vu: 日本語 🙂"}
    request = conversation("scripts")
    forced = forcer_of(engine).forced(request, reply)
    if forced is not None:
        served = Served(engine.stream(msgspec.structs.replace(request, forced=forced)))
        assert served.content == reply["content"]
    is_usable(engine, "scripts")


def the_rendered_prompt_is_the_one_evaluated(engine: Engine) -> None:
    for request in (
        conversation("render"),
        conversation("render", tools=True),
        conversation("render", CALL, RESULT, tools=True),
        conversation("render é 日本 🙂", ANSWER, {"role": "user", "content": "Go on."}),
    ):
        prompt = engine.render(request)
        if prompt is None:
            pytest.skip("cannot tell its prompts")
        said = Served(engine.stream(request)).evidence
        assert said.prompt_tokens in (None, len(prompt.token_ids))
        assert engine.render(request) == prompt


def tools_calls_and_results_reach_the_prompt(engine: Engine) -> None:
    plain, full = engine.render(conversation("tools")), engine.render(conversation("tools", CALL, RESULT, tools=True))
    if plain is None or full is None:
        pytest.skip("cannot tell its prompts")
    for words in ("read_file", "Read a file.", "core/frame.py", "def frame():"):
        assert words in full.text
    assert full.text.index('"path"') < full.text.index('"line"'), "the order of keys is kept"
    assert "read_file" not in plain.text


def an_overflow_is_named_and_survived(engine: Engine) -> None:
    facts = engine.facts()
    context = facts.context_tokens
    assert context is not None or not facts.launched
    if context is None:
        pytest.skip("does not say how much it holds")
    with pytest.raises(ContextOverflow) as caught:
        list(engine.stream(Request(({"role": "user", "content": "one more word " * context},))))
    assert caught.value.context_tokens in (None, context)
    assert caught.value.prompt_tokens is None or caught.value.prompt_tokens > context
    is_usable(engine, "overflow")


def a_bad_request_is_refused_and_survived(engine: Engine) -> None:
    for message in ({"content": "no role"}, {"role": "user", "content": 3}):
        with pytest.raises(EngineError):
            list(engine.stream(Request((message,))))
        is_usable(engine, "bad request")


def a_reply_left_midway_leaves_the_engine_usable(engine: Engine) -> None:
    stream = engine.stream(conversation("midway", max_tokens=400))
    assert any(isinstance(event, Delta) for event in stream)
    cast("Generator[Event]", stream).close()
    is_usable(engine, "midway")
    again = Served(engine.stream(conversation("midway", max_tokens=2))).evidence
    assert again.conflict is None


def a_reset_makes_the_next_request_cold(engine: Engine) -> None:
    if not isinstance(engine, Resetter):
        pytest.skip("cannot be emptied")
    request = conversation("reset")
    list(engine.stream(request))
    engine.reset()
    assert Served(engine.stream(request)).evidence.cached_tokens in (None, 0)


def facts_say_what_it_is(engine: Engine) -> None:
    """A server that was only attached to may keep the rest to itself."""
    facts = engine.facts()
    assert facts.engine
    assert facts.model
    assert engine.facts() == facts
    if not facts.launched and not facts.settings:
        pytest.skip("was not launched here")
    assert facts.context_tokens
    assert facts.cache_kind
    assert facts.granularity_tokens
    assert facts.launched
    assert facts.settings
    assert engine.facts() == facts


def its_processes_are_alive(engine: Engine) -> None:
    assert all(psutil.pid_exists(pid) for pid in engine.pids())


CHECKS: tuple[Check, ...] = (
    events_come_in_order,
    stamps_do_not_go_back,
    a_reply_is_the_same_streamed_and_whole,
    evidence_adds_up,
    max_tokens_ends_a_reply,
    a_repeat_is_not_cached_less,
    a_continuation_reuses_the_prompt_and_the_reply,
    a_forced_reply_comes_out_exactly,
    a_forced_tool_call_comes_out_whole,
    a_forced_reply_is_what_the_template_puts,
    other_scripts_come_out_whole_or_are_refused,
    the_rendered_prompt_is_the_one_evaluated,
    tools_calls_and_results_reach_the_prompt,
    an_overflow_is_named_and_survived,
    a_bad_request_is_refused_and_survived,
    a_reply_left_midway_leaves_the_engine_usable,
    a_reset_makes_the_next_request_cold,
    facts_say_what_it_is,
    its_processes_are_alive,
)
