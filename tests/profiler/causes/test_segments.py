"""Messages in their rendered prompt, for templates that the code does not know."""

from __future__ import annotations

import pytest

from backends.base import JsonObject
from profiler.causes.segments import pieces, spans
from tests.profiler.causes.agents import SOURCE, TASK, TOOLS, opencode
from tests.profiler.causes.world import Template, assistant, call, chatml, harmony, result, system, user

MESSAGES = [
    system(opencode()), user(TASK), assistant("ok", call("read", '{"path": "a.py"}')), result(SOURCE), user("ok"),
    assistant("Done."), user("Thank you."),
]  # fmt: skip


def swapped(messages: list[JsonObject], tools: object = ()) -> str:
    """A template that writes its tools, and rules of its own, before everything else."""
    return "# Rules\n" + SOURCE * 3 + chatml(messages)


@pytest.mark.parametrize("template", [chatml, swapped], ids=["chatml", "head first"])
def test_every_message_has_its_own_place(template: Template) -> None:
    text = template(MESSAGES, TOOLS)
    found = spans(text, MESSAGES)
    assert [span.start for span in found[1:]] == [span.end for span in found[:-1]]
    for span, message in zip(found, MESSAGES, strict=True):
        assert [piece.path for _, _, piece in span.found] == [piece.path for piece in pieces(message)]
        for start, end, piece in span.found:
            assert text[start:end] == piece.text
    assert found[6].found[0][0] == text.rindex("Thank you.")


def test_a_message_that_the_template_drops_takes_nobody_elses_place() -> None:
    text = harmony(MESSAGES[:4] + MESSAGES[5:])
    found = spans(text, MESSAGES)
    assert text[slice(*found[6].found[0][:2])] == "Thank you."
    assert found[4].found == ()


def test_what_a_template_keeps_of_a_reply_with_its_reasoning_is_found() -> None:
    messages = [user(TASK), assistant("<think>\nHm.\n</think>\n\nIt is the sign."), user("Thank you.")]
    text = chatml([messages[0], assistant("It is the sign."), messages[2]])
    (start, end, piece) = spans(text, messages)[1].found[0]
    assert (text[start:end], piece.path) == ("It is the sign.", "content")


def test_pieces_are_what_a_message_says_in_order() -> None:
    message: JsonObject = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm."},
            {"type": "text", "text": "Yes."},
            {"type": "image_url"},
            "x",
        ],
        "tool_calls": [{"function": {"name": "read", "arguments": {"path": "ä"}}}, "broken", {"function": None}],
        "reasoning": " So. ",
    }
    assert [(piece.path, piece.text, piece.shown) for piece in pieces(message)] == [
        ("reasoning", "So.", True),
        ("content[0].thinking", "Hm.", True),
        ("content[1].text", "Yes.", True),
        ("content[2]", '{"type":"image_url"}', False),
        ("content[3]", "x", True),
        ("tool_calls[0].function.name", "read", True),
        ("tool_calls[0].function.arguments", '{"path":"ä"}', True),
    ]


@pytest.mark.parametrize("message", [{}, {"role": None, "content": None}, {"role": 7, "content": 7, "tool_calls": 7}])
def test_what_is_no_message_has_no_pieces(message: JsonObject) -> None:
    assert list(pieces(message)) == []
