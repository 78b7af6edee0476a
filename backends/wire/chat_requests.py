"""The chat that a request of another form asks for, as llama-server understands it: messages and tools. Pure.

For bodies that other programs wrote: what llama-server would refuse or cannot show has no chat here. Another server may
read the same body otherwise; whoever renders the chat holds the length against what the server counted.
"""

from __future__ import annotations

from typing import Any, cast

from backends.base import JsonObject
from backends.wire.errors import object_of
from backends.wire.message_blocks import from_blocks
from backends.wire.response_items import from_items

Chat = tuple[list[JsonObject], list[JsonObject]]

__all__ = ["Chat", "chat_of_message", "chat_of_response"]


def chat_of_response(body: JsonObject) -> Chat | None:
    """Messages and tools of a body of `/v1/responses`; `None` if it names an earlier response, or cannot be read."""
    if body.get("previous_response_id"):
        return None
    given, instructions = body.get("input"), body.get("instructions")
    messages: list[JsonObject] = []
    if isinstance(instructions, str):
        messages.append({"role": "system", "content": instructions})
    try:
        if isinstance(given, str):
            messages.append({"role": "user", "content": given})
        else:
            messages += from_items([_item(item) for item in _objects(given)])
        functions = [tool for tool in _objects(body.get("tools")) if tool.pop("type", None) == "function"]
    except (KeyError, TypeError, IndexError):
        return None
    return messages, [{"type": "function", "function": {"strict": True, **function}} for function in functions]


def chat_of_message(body: JsonObject) -> Chat | None:
    """Messages and tools of a body of `/v1/messages`; `None` if it cannot be read."""
    system = body.get("system")
    try:
        if isinstance(system, list):
            system = "".join(str(block.get("text", "")) for block in _objects(cast("list[object]", system)))
        messages = from_blocks(system, [_message(message) for message in _objects(body.get("messages"))])
        tools = [
            {
                "name": tool.get("name", ""),
                "description": tool.get("description", ""),
                "parameters": tool.get("input_schema", {}),
            }
            for tool in _objects(body.get("tools"))
        ]
    except (KeyError, TypeError):
        return None
    return messages, [{"type": "function", "function": tool} for tool in tools]


def _item(item: JsonObject) -> JsonObject:
    """An item with what may be left out of it: a message's type, and the parts of a text."""
    made = {"type": "message", **item} if "role" in item else item
    content = made.get("content")
    return {**made, "content": [{"type": "input_text", "text": content}]} if isinstance(content, str) else made


def _message(message: JsonObject) -> JsonObject:
    """A message of which every result of a tool is one text."""
    content = message["content"]
    if not isinstance(content, list):
        return message
    blocks = _objects(cast("list[object]", content))
    return {**message, "content": [_result(block) if block.get("type") == "tool_result" else block for block in blocks]}


def _result(block: JsonObject) -> JsonObject:
    content = block.get("content")
    if isinstance(content, list):
        content = "".join(str(part["text"]) for part in _objects(cast("list[object]", content)))
    return {**block, "content": content or ""}


def _objects(value: Any) -> list[JsonObject]:
    """The objects of a list, as copies.

    Raises:
        TypeError: it is something else, or not a list of objects.
    """
    listed = cast("list[object]", value) if isinstance(value, list) else []
    if value is not None and (not isinstance(value, list) or not all(isinstance(item, dict) for item in listed)):
        raise TypeError("not a list of objects")
    return [dict(object_of(item)) for item in listed]
