"""The trained model on the real llama-server: right answers, and histories that come back as generated."""

import json
from random import Random
from typing import Any

import pytest

from tests.tiny_model.chats import EVERYDAY_TOOLS, THINK, everyday, fact, message, question, weather
from tests.tiny_model.coding import coding
from tests.tiny_model.evaluate import called
from tests.tiny_model.server import Server, serving
from tests.tiny_model.templates import FOLDER, STABLE, STRIP, render

pytestmark = pytest.mark.engine

TOOLS = list(EVERYDAY_TOOLS)


def chat(text: str, system: str = "You are a helpful assistant.") -> list[dict[str, Any]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("draw", "name"), [(weather, "get_weather"), (message, "send_message")])
def test_unseen_requests_become_valid_calls(tiny_server: Server, draw: Any, name: str, seed: int) -> None:
    text, arguments = question(Random(seed), draw, held=True)
    reply = tiny_server.chat(chat(text), TOOLS)
    assert called(reply) == [(name, arguments)]
    assert reply["content"] in (None, "")


@pytest.mark.parametrize("seed", range(6))
def test_facts_are_known_in_unseen_wordings(tiny_server: Server, seed: int) -> None:
    text, answer = question(Random(seed), fact, held=True)
    assert tiny_server.chat(chat(text), [])["content"] == answer


def test_it_thinks_exactly_when_told_to(tiny_server: Server) -> None:
    text = "What is the weather in Paris monday?"
    silent = tiny_server.chat(chat(text), TOOLS)
    thinking = tiny_server.chat(chat(text, f"You are a helpful assistant. {THINK}"), TOOLS)
    assert not silent.get("reasoning_content")
    assert thinking["reasoning_content"] == "I need get_weather.\n"
    assert called(thinking) == called(silent)


@pytest.mark.parametrize("system", ["You help with small tasks.", f"You help with small tasks. {THINK}"])
@pytest.mark.parametrize("text", ["Will it rain in Rome friday?", "What is the code of Ada?", "Tell Ken: call me back"])
def test_an_answer_sent_back_renders_to_what_was_generated(tiny_server: Server, text: str, system: str) -> None:
    history = chat(text, system)
    prompt = tiny_server.prompt(history, TOOLS)
    raw = tiny_server.complete(prompt)["content"]
    answer = tiny_server.chat(history, TOOLS)
    # A user turn follows, because the server would continue a final assistant turn instead of closing it.
    extended = tiny_server.prompt([*history, answer, {"role": "user", "content": "thanks"}], TOOLS)
    assert extended.startswith(f"{prompt}{raw}<|im_end|>\n<|im_start|>user\nthanks")


@pytest.mark.parametrize("template", [STABLE, STRIP])
def test_the_server_renders_as_jinja_does(template: Any) -> None:
    pytest.importorskip("xllamacpp")
    with serving(FOLDER / "tiny-q2_k.gguf", template=template) as server:
        for session in (everyday(Random(1), 3), coding(Random(2), 1), everyday(Random(3), 2)):
            for end in range(1, len(session.messages) + 1):
                part = session.messages[:end]
                if part[-1]["role"] != "assistant":
                    expected = render(part, session.tools, generate=True, template=template)
                    assert server.prompt(part, session.tools) == expected


@pytest.mark.parametrize(
    ("given", "rendered"),
    [
        ('{"a":1}', '{"a": 1}'),
        ('{"x": 0.1234567}', '{"x": 0.123457}'),
        (r'{"s": "\u00e9"}', '{"s": "é"}'),
        ('{"a": 1, "a": 2}', '{"a": 2}'),
    ],
)
def test_the_server_rewrites_arguments_in_other_spellings(tiny_server: Server, given: str, rendered: str) -> None:
    """Not the template but llama-server does this: it parses the text and writes it again."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": given}}
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": json.dumps("done")},
    ]
    assert f'"arguments": {rendered}}}' in tiny_server.prompt(history, [])
