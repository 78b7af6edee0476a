"""Completions: the prompt is made before it is sent, once, and refused where it cannot be."""

from __future__ import annotations

from array import array

import msgspec
import pytest

from backends.base import EngineFault, Prompt, Request, TargetError
from backends.http_chat.chat import no_prompt
from backends.http_chat.completions import KeptPrompts, completions
from tests.backends.contract import TOOL

HELLO = Request(({"role": "user", "content": "hello"},), (TOOL,))


class Rendering:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, request: Request) -> Prompt:
        self.asked += 1
        return Prompt(str(request.messages), array("i", [self.asked]))


def test_the_ids_are_sent_and_what_made_them_is_not() -> None:
    request = msgspec.structs.replace(
        HELLO, parameters={"top_p": 0.5, "chat_template_kwargs": {"x": 1}, "tool_choice": "auto"}, max_tokens=9
    )
    body = completions(Rendering()).body(request, "m")
    assert body == {
        "model": "m",
        "prompt": [1],
        "max_tokens": 9,
        "temperature": 0,
        "top_p": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_prompt_that_was_judged_is_not_made_again_when_it_is_sent() -> None:
    rendering = Rendering()
    renderer = KeptPrompts(rendering)
    judged = renderer(HELLO)
    renderer(msgspec.structs.replace(HELLO, messages=(*HELLO.messages, {"role": "assistant", "content": "hi"})))
    assert renderer(msgspec.structs.replace(HELLO, max_tokens=3)) is judged
    assert rendering.asked == 2


@pytest.mark.parametrize(
    "change", [{"messages": ({"role": "user", "content": "no"},)}, {"tools": ()}, {"parameters": {"a": 1}}]
)
def test_another_request_is_another_prompt(change: dict[str, object]) -> None:
    rendering = Rendering()
    renderer = KeptPrompts(rendering)
    renderer(HELLO)
    assert renderer(msgspec.structs.replace(HELLO, **change)).token_ids[0] == 2  # type: ignore[union-attr]


def test_a_server_that_shows_no_template_is_refused() -> None:
    with pytest.raises(TargetError, match="shows no chat template") as caught:
        completions(no_prompt)
    assert "api=completions" in str(caught.value.hint)


def test_a_prompt_that_is_not_shown_is_not_sent_empty() -> None:
    with pytest.raises(EngineFault):
        completions(lambda request: None).body(HELLO, "m")
