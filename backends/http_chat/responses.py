"""A chat over `/v1/responses`: the whole history is sent each time, and the server is told to store nothing.

A server that keeps the history itself (`previous_response_id`) is not used so: what it caches could not be compared.
"""

from __future__ import annotations

import msgspec

from backends import wire
from backends.base import JsonObject, Prompt, Request
from backends.http_chat.chat import Form, Renderer
from backends.wire.response_items import from_items, to_items, to_tools


def response_body(request: Request, model: str | None) -> JsonObject:
    """The body of a response. `parameters` of the request win over everything but `stream`.

    Raises:
        RequestRejected: a message that this form cannot carry.
    """
    body: JsonObject = {
        "model": model,
        "input": to_items(request.messages),
        "max_output_tokens": request.max_tokens,
        "temperature": 0,
        "store": False,
        **request.parameters,
        "stream": request.stream,
    }
    if request.tools:
        body["tools"] = to_tools(request.tools)
    return body


RESPONSES = Form("/v1/responses", response_body, wire.decode_response)


def as_items(renderer: Renderer) -> Renderer:
    """A renderer of what the server makes of the items, which are not quite the messages that they stand for."""

    def render(request: Request) -> Prompt | None:
        messages = tuple(from_items(to_items(request.messages)))
        return renderer(msgspec.structs.replace(request, messages=messages))

    return render
