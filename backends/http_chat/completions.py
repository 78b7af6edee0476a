"""A chat over `/v1/completions`: the prompt is made by the server's own template and tokenizer first, and sent as ids.

Ids, because a text is tokenized differently from one server to the next (vLLM puts a second BOS before it). What the
model writes comes back as it is: reasoning and tool calls are in the content, with their marks. Nothing is parsed here.
"""

from __future__ import annotations

from collections import deque

from backends import wire
from backends.base import EngineFault, JsonObject, Prompt, Request, TargetError
from backends.http_chat.chat import Form, Renderer, no_prompt

_KEPT = 2
"""Prompts that are kept: one is rendered to be judged before it is sent, and the next one in between."""

_OF_THE_TEMPLATE = ("chat_template_kwargs", "tool_choice", "parallel_tool_calls", "response_format")
"""Parameters that are used up when a prompt is made."""


class KeptPrompts:
    """A renderer that keeps its last prompts, so that making one is not timed as a part of its request."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._kept: deque[tuple[Request, Prompt | None]] = deque(maxlen=_KEPT)

    def __call__(self, request: Request) -> Prompt | None:
        """The prompt of these messages, tools and parameters."""
        for known, prompt in self._kept:
            if _of_prompt(known) == _of_prompt(request):
                return prompt
        prompt = self._renderer(request)
        self._kept.append((request, prompt))
        return prompt


def completions(renderer: Renderer) -> Form:
    """The form for a server whose prompts `renderer` shows.

    Raises:
        TargetError: nothing shows them.
    """
    if renderer is no_prompt:
        raise TargetError(
            "this server shows no chat template (/apply-template or /tokenize), so no prompt can be made for it",
            hint="leave out api=completions: then the server makes the prompt itself",
        )

    def body(request: Request, model: str | None) -> JsonObject:
        prompt = renderer(request)
        if prompt is None:
            raise EngineFault("the server does not show the prompt of this request")
        made: JsonObject = {
            "model": model,
            "prompt": list(prompt.token_ids),
            "max_tokens": request.max_tokens,
            "temperature": 0,
            **{key: value for key, value in request.parameters.items() if key not in _OF_THE_TEMPLATE},
            "stream": request.stream,
        }
        if request.stream:
            made["stream_options"] = {"include_usage": True}
        return made

    return Form("/v1/completions", body, wire.decode_chunk)


def _of_prompt(request: Request) -> tuple[object, ...]:
    return request.messages, request.tools, request.parameters
