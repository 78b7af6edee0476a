"""Each lever of the prompt and of the history, by what the model is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.base import JsonObject
from harness.agent.history import CLEARED
from harness.agent.model import COMPACTION, MAIN, ScriptModel
from harness.tasks.base import Call, Step
from harness.tools.scaffolding import Plan, Scratchpad, Todo
from harness.tools.submit import Submit
from tests.harness.agent.agent_world import (
    DONE,
    Count,
    Echo,
    Told,
    assert_valid,
    calling,
    failing,
    saying,
    worked,
)

ECHO = calling(("echo", {"text": "hi"}), reasoning="I echo.")


def asked(setting: JsonObject, *answers: Any, **job: Any) -> Told:
    model = Told(*(answers or (ECHO, ECHO, DONE)))
    worked(model, setting, **job)
    return model


def systems(model: Told) -> list[str]:
    return [messages[0]["content"] for messages in model.asked if messages[0]["role"] == "system"]


def test_the_system_prompt_is_made_of_its_parts() -> None:
    setting = {"scaffolding": {"todo": True, "scratchpad": True}, "thinking": {"mode": "on"}}
    tools = (Echo(), Todo(), Plan(), Scratchpad(), Submit())
    model = asked(setting, persona="You are careful.\n", skills="# Skill\nTest first.", tools=tools)
    parts = systems(model)[0].split("\n\n")
    assert parts[:2] == ["You are careful.", "# Skill\nTest first."]
    assert [word in parts[2] + parts[3] for word in ("todo", "scratchpad", "plan tool")] == [True, True, False]
    assert parts[-1] == "Think first."
    assert len(set(systems(model))) == 1


def test_without_a_part_there_is_no_system_prompt() -> None:
    assert systems(asked({})) == []


@pytest.mark.parametrize(
    ("kind", "line"),
    [("clock", "Current time: 2023-11-14T22:13:20"), ("counter", "request 1 "), ("cwd", "run folder ")],
)
def test_volatile_text_is_new_in_every_request(kind: str, line: str) -> None:
    model = asked({"prompt": {"volatile": kind}}, persona="You are careful.")
    assert line in systems(model)[0]
    assert len(set(systems(model))) == 3
    assert all(text.endswith("\n\nYou are careful.") for text in systems(model))
    assert systems(model) == systems(asked({"prompt": {"volatile": kind}}, persona="You are careful."))


def test_volatile_text_at_the_end_of_the_system_prompt() -> None:
    model = asked({"prompt": {"volatile": "counter", "volatile_at": "system_end"}}, persona="You are careful.")
    assert systems(model)[1] == "You are careful.\n\nThis is request 2 of the session."


def test_volatile_text_in_the_last_message_does_not_stay_there() -> None:
    model = asked({"prompt": {"volatile": "counter", "volatile_at": "last_message"}})
    assert [messages[-1]["content"] for messages in model.asked] == [
        "Do it.\n\nThis is request 1 of the session.",
        "hi\n\nThis is request 2 of the session.",
        "hi\n\nThis is request 3 of the session.",
    ]
    assert [message["content"] for message in model.asked[2][:-1]] == ["Do it.", "", "hi", ""]


def test_tools_are_shuffled_anew_and_the_same_way_for_the_same_dispatch() -> None:
    tools = (Echo(), Todo(), Plan(), Scratchpad(), Submit())

    def orders(**job: Any) -> list[list[str]]:
        model = asked({"prompt": {"tool_order": "shuffled"}}, tools=tools, **job)
        return [[tool["function"]["name"] for tool in request.tools] for request in model.requests]

    first = orders()
    assert len({tuple(order) for order in first}) == 3
    assert all(sorted(order) == ["echo", "plan", "scratchpad", "submit", "todo"] for order in first)
    assert orders() == first
    assert orders(dispatch_id="d2") != first


def test_call_ids_are_counted_or_the_engines_or_random() -> None:
    def ids(order: str, model: Any) -> list[str]:
        finished, _ = worked(model, {"prompt": {"call_ids": order}})
        return [call["id"] for message in finished.messages for call in message.get("tool_calls", ())]

    assert ids("counted", Told(ECHO, ECHO, DONE)) == ["call_1", "call_2"]
    assert ids("random", Told(ECHO, ECHO, DONE)) == ["engine-echo", "engine-echo"]
    script = [Step(calls=(Call("echo", {"text": "x"}),))] * 2
    drawn = ids("random", ScriptModel(script))
    assert len(set(drawn)) == 2
    assert all(len(call_id) == 24 for call_id in drawn)


@pytest.mark.parametrize(
    ("mode", "kwargs"), [("default", None), ("on", {"enable_thinking": True}), ("off", {"enable_thinking": False})]
)
def test_thinking_is_asked_for_by_the_template_and_in_words(mode: str, kwargs: JsonObject | None) -> None:
    model = asked({"thinking": {"mode": mode}})
    assert model.requests[0].parameters.get("chat_template_kwargs") == kwargs
    assert systems(model) == (["Think first."] * 3 if mode == "on" else [])


def test_thoughts_are_kept_or_stripped_of_all_turns_but_the_last() -> None:
    def thoughts(history: str) -> list[list[bool]]:
        model = asked({"thinking": {"history": history}})
        return [["reasoning_content" in m for m in messages if m["role"] == "assistant"] for messages in model.asked]

    assert thoughts("kept") == [[], [True], [True, True]]
    assert thoughts("stripped") == [[], [True], [False, True]]


def test_sampling_is_sent_as_it_is_set() -> None:
    model = asked({"sampling": {"temperature": 0.5, "top_p": 0.9, "seed": 7}, "limits": {"reply_tokens": 77}})
    assert model.requests[0].parameters == {"temperature": 0.5, "top_p": 0.9, "seed": 7}
    assert model.requests[0].max_tokens == 77


def long(number: int) -> Any:
    """A turn whose prompt was longer than three quarters of 1000 tokens, from the fourth on."""
    return calling(("echo", {"text": f"result {number}"}), prompt_tokens=100 if number < 4 else 800)


def history(policy: str, *more: Any, **levers: Any) -> tuple[Told, list[tuple[str, ...]]]:
    model = Told(*[long(number) for number in range(1, 5)], *more, DONE)
    setting = {"history": {"policy": policy, "keep_turns": 2, **levers}}
    _, turns = worked(model, setting, context_tokens=1000)
    for messages in model.asked:
        assert_valid(messages)
    return model, [turn.events for turn in turns]


def results(messages: list[JsonObject]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "tool"]


def test_a_history_is_kept_however_long() -> None:
    model, events = history("keep")
    assert results(model.asked[4]) == ["result 1", "result 2", "result 3", "result 4"]
    assert not any(events)


def test_older_turns_are_dropped_with_their_results() -> None:
    model, events = history("drop_oldest", long(5), long(6))
    assert results(model.asked[3]) == ["result 1", "result 2", "result 3"]
    assert results(model.asked[4]) == ["result 3", "result 4"]
    assert results(model.asked[5]) == ["result 4", "result 5"]
    assert model.asked[5][0]["content"] == "Do it.\n\n[Earlier turns of this work were left out.]"
    assert events == [
        (),
        (),
        (),
        (),
        ("compacted: drop_oldest: turns dropped: 2",),
        *[("compacted: drop_oldest: turns dropped: 1",)] * 2,
    ]


def test_older_results_are_cleared_once() -> None:
    model, events = history("clear_results", long(5))
    assert results(model.asked[4]) == [CLEARED, CLEARED, "result 3", "result 4"]
    assert results(model.asked[5]) == [CLEARED, CLEARED, CLEARED, "result 4", "result 5"]
    assert [event for turn in events for event in turn] == [
        "compacted: clear_results: results cleared: 2", "compacted: clear_results: results cleared: 1",
    ]  # fmt: skip


def test_a_summary_is_written_by_the_model_itself() -> None:
    summary = saying("I echoed twice.", request_id=17, prompt_tokens=850)
    model, events = history("summarise", summary)
    assert model.conversations == [MAIN] * 4 + [COMPACTION, MAIN]
    assert model.asked[4][:-1] == [*model.asked[3], *model.asked[4][-3:-1]]
    assert "sum up" in model.asked[4][-1]["content"]
    assert model.asked[5][0]["content"] == "Do it.\n\nA summary of the work so far:\nI echoed twice."
    assert results(model.asked[5]) == ["result 3", "result 4"]
    assert events[4] == ("compacted: summarise: turns summed up: 2, request 17",)


def test_a_later_summary_replaces_the_earlier_one() -> None:
    again = calling(("echo", {"text": "result 5"}), prompt_tokens=800)
    model, _ = history("summarise", saying("First."), again, saying("Second."))
    assert model.asked[7][0]["content"] == "Do it.\n\nA summary of the work so far:\nSecond."


def test_a_summary_is_written_by_another_model() -> None:
    model, writer = Told(*[long(number) for number in range(1, 5)], DONE), Told(saying("In short."))
    worked(model, {"history": {"policy": "summarise", "keep_turns": 1}}, context_tokens=1000, compactor=writer)
    assert (writer.conversations, model.conversations) == ([COMPACTION], [MAIN] * 5)
    assert model.asked[4][0]["content"].endswith("In short.")


@pytest.mark.parametrize("answer", [saying(" "), failing("EngineFault", "HTTP 500: broken")])
def test_a_summary_that_fails_leaves_the_history(answer: Any) -> None:
    model, events = history("summarise", answer)
    assert results(model.asked[5]) == ["result 1", "result 2", "result 3", "result 4"]
    assert events[4][0].startswith("compaction_failed: ")


@pytest.mark.parametrize("policy", ["drop_oldest", "summarise"])
def test_what_is_to_be_kept_is_no_reason_to_act(policy: str) -> None:
    _, events = history(policy, keep_turns=4)
    assert not any(events)


@pytest.mark.parametrize("context_tokens", [None, 10_000])
def test_nothing_happens_before_the_share_is_reached_or_known(context_tokens: int | None) -> None:
    model = Told(*[long(number) for number in range(1, 7)], DONE)
    worked(model, {"history": {"policy": "drop_oldest", "keep_turns": 1}}, context_tokens=context_tokens)
    assert len(results(model.asked[-1])) == 6


def test_a_script_sums_itself_up() -> None:
    class Long(ScriptModel):
        def answer(self, *args: Any, **more: Any) -> Any:
            answer = super().answer(*args, **more)
            return type(answer)(answer.said, None, 800)

    script = [Step(calls=(Call("echo", {"text": f"result {number}"}),)) for number in range(3)]
    finished, turns = worked(Long(script), {"history": {"policy": "summarise", "keep_turns": 1}}, context_tokens=1000)
    assert '- echo {"text": "result 0"}: result 0' in finished.messages[0]["content"]
    assert sum(event.startswith("compacted") for turn in turns for event in turn.events) == 2


def test_scaffolding_keeps_its_state() -> None:
    steps: list[tuple[str, JsonObject]] = [
        ("todo", {"action": "add", "item": "read"}), ("todo", {"action": "add", "item": "write"}),
        ("todo", {"action": "done", "number": 1}), ("todo", {"action": "done", "number": 3}),
        ("plan", {"action": "show"}), ("plan", {"action": "set", "text": "first this"}), ("plan", {"action": "show"}),
        ("scratchpad", {"action": "write", "text": "a"}), ("scratchpad", {"action": "write", "text": "b"}),
        ("scratchpad", {"action": "read"}), ("scratchpad", {"action": "write"}),
    ]  # fmt: skip
    script = ScriptModel([Step(calls=(Call(name, arguments),)) for name, arguments in steps])
    finished, turns = worked(script, tools=(Todo(), Plan(), Scratchpad(), Count()))
    assert results(list(finished.messages)) == [
        "1. [ ] read", "1. [ ] read\n2. [ ] write", "1. [x] read\n2. [ ] write",
        "Error: give the number of an item, 1 to 2",
        "(no plan yet)", "The plan is set.", "first this", "Noted.", "Noted.", "a\nb",
        "Error: give the text of the note",
    ]  # fmt: skip
    assert {call.effect for turn in turns for call in turn.calls} == {"plan"}


def test_requests_are_plain_json() -> None:
    model = asked({"prompt": {"volatile": "cwd", "tool_order": "shuffled"}, "thinking": {"mode": "on"}})
    for request in model.requests:
        json.dumps([request.messages, request.tools, request.parameters])
