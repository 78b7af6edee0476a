"""The shipped templates: a rendered history only grows, except where the strip variant drops reasoning."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_model.chats import EVERYDAY_TOOLS
from tests.tiny_model.templates import STABLE, STRIP, Message, Tool, render

TURN_END = "<|im_end|>\n"

text = st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2))
arguments = st.dictionaries(text, values, max_size=3)
calls = st.builds(
    lambda name, given: {"type": "function", "function": {"name": name, "arguments": given}},
    st.sampled_from(["get_weather", "edit"]),
    arguments | arguments.map(json.dumps) | st.just('{"cut off'),
)
assistants = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": text | st.none()},
    optional={"reasoning_content": text | st.none(), "tool_calls": st.lists(calls, max_size=3) | st.none()},
)
others = st.fixed_dictionaries({"role": st.sampled_from(["user", "tool"]), "content": text})
systems = st.lists(st.fixed_dictionaries({"role": st.just("system"), "content": text}), max_size=1)
histories = st.tuples(systems, st.lists(assistants | others, max_size=8)).map(lambda parts: parts[0] + parts[1])
tools: st.SearchStrategy[list[Tool]] = st.sampled_from([[], list(EVERYDAY_TOOLS)])


def generated(message: Message) -> str:
    """What the model generated to be answered with this message, written without the template.

    Engines differ in whether the newlines at the ends belong to the reasoning and content they return.
    """
    reasoning, content = message.get("reasoning_content"), message["content"] or ""
    blocks = [f"<tool_call>\n{_object(call['function'])}\n</tool_call>" for call in message.get("tool_calls") or []]
    if blocks and content and not content.endswith("\n"):
        content += "\n"
    thought = "<think>\n" + reasoning.strip("\n") + "\n</think>\n\n" if reasoning else ""
    return thought + content + "\n".join(blocks)


def _object(function: dict[str, Any]) -> str:
    given = function["arguments"]
    written = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return f'{{"name": "{function["name"]}", "arguments": {written}}}'


@given(histories, tools)
def test_each_answer_is_rendered_as_it_was_generated(history: list[Message], offered: list[Tool]) -> None:
    for at, message in enumerate(history):
        if message["role"] == "assistant":
            prompt = render(history[:at], offered, generate=True)
            assert prompt + generated(message) + TURN_END == render(history[: at + 1], offered)


@given(histories.filter(bool), tools)
def test_each_message_extends_the_history(history: list[Message], offered: list[Tool]) -> None:
    for at in range(1, len(history)):
        assert render(history[: at + 1], offered).startswith(render(history[:at], offered))


@given(histories, tools)
def test_strip_is_stable_without_the_reasoning_of_earlier_questions(
    history: list[Message], offered: list[Tool]
) -> None:
    last = max((at for at, message in enumerate(history) if message["role"] == "user"), default=-1)
    without = [{**message, "reasoning_content": None} if at < last else message for at, message in enumerate(history)]
    assert render(history, offered, template=STRIP) == render(without, offered, template=STABLE)


def test_a_new_question_makes_strip_rewrite_the_history() -> None:
    history: list[Message] = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1", "reasoning_content": "easy"},
    ]
    before = render(history, template=STRIP)
    after = render([*history, {"role": "user", "content": "two"}], template=STRIP)
    assert "easy" in before
    assert "easy" not in after


def test_tools_are_written_as_given_and_a_chat_without_any_has_no_block() -> None:
    question: list[Message] = [{"role": "user", "content": "hello"}]
    assert render(question, generate=True) == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    offered = render(question, list(EVERYDAY_TOOLS))
    for tool in EVERYDAY_TOOLS:
        assert f"\n{json.dumps(tool)}\n" in offered


@pytest.mark.parametrize("template", [STABLE, STRIP])
def test_an_object_and_its_json_text_render_alike(template: Any) -> None:
    def chat(given: object) -> list[Message]:
        call = {"type": "function", "function": {"name": "edit", "arguments": given}}
        return [{"role": "assistant", "content": "", "tool_calls": [call]}]

    value = {"path": "src/ä.py", "old": "a < b\n", "lines": [1, 2.5, None, True]}
    as_text = json.dumps(value, ensure_ascii=False)
    assert render(chat(value), template=template) == render(chat(as_text), template=template)
