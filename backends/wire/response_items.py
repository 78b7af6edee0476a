"""Chat messages and tools as the items of `/v1/responses`, and back: each call and each reasoning is an item. Pure.

Back is what llama-server makes of them, part by part, since its template is then shown those messages: two assistant
messages in a row become one, and every text is a list of parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from backends.base import JsonObject, RequestRejected

_ROLES = ("system", "developer", "user", "assistant")


def to_items(messages: Iterable[JsonObject]) -> list[JsonObject]:
    """The `input` of `/v1/responses` for chat messages. Reasoning comes before what it led to.

    Raises:
        RequestRejected: a message that this form cannot carry.
    """
    made: list[JsonObject] = []
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role == "tool":
            call_id = message.get("tool_call_id", "")
            made.append({"type": "function_call_output", "call_id": call_id, "output": _output(content)})
            continue
        if role not in _ROLES:
            raise RequestRejected(f"the responses form has no place for the role {role!r}")
        calls = cast("list[JsonObject]", message.get("tool_calls") or [])
        thought = message.get("reasoning_content")
        if thought:
            text = {"type": "reasoning_text", "text": thought}
            made.append({"type": "reasoning", "id": f"rs_{number}", "summary": [], "content": [text]})
        parts = _parts(content, "output_text" if role == "assistant" else "input_text")
        if parts or not (calls or thought):
            made.append({"type": "message", "role": role, "content": parts})
        made += [_call(call) for call in calls]
    return made


def to_tools(tools: Iterable[JsonObject]) -> list[JsonObject]:
    """Chat tools, flat. `strict` is said, since this form would else presume it."""
    functions = [cast("JsonObject", tool.get("function") or {}) for tool in tools]
    return [{"type": "function", "strict": False, **function} for function in functions]


def from_items(items: Iterable[JsonObject]) -> list[JsonObject]:
    """Chat messages for `input` items, as llama-server makes them (`server_chat_convert_responses_to_chatcmpl`)."""
    made: list[JsonObject] = []
    for item in items:
        kind = item["type"]
        if kind == "function_call_output":
            output = item["output"]
            content = output if isinstance(output, str) else _chat_parts(cast("list[JsonObject]", output))
            made.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
        elif kind == "message" and item["role"] != "assistant":
            made.append({"role": item["role"], "content": _chat_parts(item["content"])})
        else:
            if not made or made[-1]["role"] != "assistant":
                made.append({"role": "assistant"} if kind == "function_call" else {"role": "assistant", "content": []})
            _add(made[-1], item)
    return made


def _add(message: JsonObject, item: JsonObject) -> None:
    """Add a reasoning, a text or a call to the assistant message that it belongs to."""
    if item["type"] == "reasoning":
        message["reasoning_content"] = item["content"][0]["text"]
    elif item["type"] == "message":
        message["content"] = [*message.get("content", ()), *_chat_parts(item["content"])]
    else:
        function = {"name": item["name"], "arguments": item["arguments"]}
        call = {"id": item["call_id"], "type": "function", "function": function}
        message["tool_calls"] = [*message.get("tool_calls", ()), call]


def _call(call: JsonObject) -> JsonObject:
    function = cast("JsonObject", call.get("function") or {})
    return {
        "type": "function_call",
        "call_id": call.get("id", ""),
        "name": function.get("name", ""),
        "arguments": function.get("arguments") or "{}",
    }


def _parts(content: Any, text: str) -> list[JsonObject]:
    """The parts of a content, a text by the type that its side of the conversation has."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": text, "text": content}]
    if not isinstance(content, list):
        raise RequestRejected("the content of a message is neither text nor a list of parts")
    return [_part(part, text) for part in cast("list[object]", content)]


def _part(part: object, text: str) -> JsonObject:
    fields = cast("JsonObject", part) if isinstance(part, dict) else {}
    if fields.get("type") == "text" and isinstance(fields.get("text"), str):
        return {"type": text, "text": fields["text"]}
    image = fields.get("image_url")
    if fields.get("type") == "image_url" and isinstance(image, dict):
        return {"type": "input_image", "image_url": cast("JsonObject", image).get("url")}
    raise RequestRejected(f"the responses form has no place for a part of type {fields.get('type')!r}")


def _output(content: Any) -> str | list[JsonObject]:
    return content if isinstance(content, str) else _parts(content, "input_text")


def _chat_parts(parts: list[JsonObject]) -> list[JsonObject]:
    return [
        {"type": "image_url", "image_url": {"url": part["image_url"]}}
        if part["type"] == "input_image"
        else {"type": "text", "text": part["text"]}
        for part in parts
    ]
