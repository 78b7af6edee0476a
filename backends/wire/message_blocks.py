"""Chat messages and tools in Anthropic's form, and back: content blocks instead of tool calls and tool messages. Pure.

Going there and back keeps every message of an agent's history, but for what that form has no place for: the text of
tool arguments (it holds the value) and several system messages (it holds one text).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from backends.base import JsonObject, RequestRejected


class _TextPart(msgspec.Struct, tag_field="type", tag="text"):
    text: str


def to_blocks(messages: Iterable[JsonObject]) -> tuple[str | None, list[JsonObject]]:
    """The system text and the messages of `/v1/messages` for chat messages.

    Raises:
        RequestRejected: a message that this form cannot carry.
    """
    system: list[str] = []
    made: list[JsonObject] = []
    for message in messages:
        role = message.get("role")
        if role == "system":
            if made:
                raise RequestRejected("Anthropic's form has no place for a system message after the first turn")
            system.append(_text(message.get("content")))
        elif role == "tool":
            _add_result(made, message)
        elif role in ("user", "assistant"):
            made.append({"role": role, "content": _content(message)})
        else:
            raise RequestRejected(f"Anthropic's form has no place for the role {role!r}")
    return "\n\n".join(system) if system else None, made


def to_tools(tools: Iterable[JsonObject]) -> list[JsonObject]:
    """Chat tools as Anthropic's."""
    functions = [cast("JsonObject", tool.get("function") or {}) for tool in tools]
    return [
        {
            "name": function.get("name"),
            "description": function.get("description", ""),
            "input_schema": function.get("parameters") or {},
        }
        for function in functions
    ]


def from_blocks(system: str | None, messages: Iterable[JsonObject]) -> list[JsonObject]:
    """Chat messages for the system text and messages of `/v1/messages`, as llama-server makes them."""
    made: list[JsonObject] = [{"role": "system", "content": system}] if system is not None else []
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            made.append(message)
            continue
        blocks = cast("list[JsonObject]", content)
        texts = [block["text"] for block in blocks if block["type"] == "text"]
        thought = [block["thinking"] for block in blocks if block["type"] == "thinking"]
        calls = [_call(block) for block in blocks if block["type"] == "tool_use"]
        if texts or thought or calls:
            parts = [{"type": "text", "text": text} for text in texts]
            said: JsonObject = {"role": message["role"], "content": parts if len(parts) > 1 else "".join(texts)}
            if thought:
                said["reasoning_content"] = "".join(thought)
            if calls:
                said["tool_calls"] = calls
            made.append(said)
        made += [
            {"role": "tool", "tool_call_id": block["tool_use_id"], "content": block["content"]}
            for block in blocks
            if block["type"] == "tool_result"
        ]
    return made


def _content(message: JsonObject) -> str | list[JsonObject]:
    calls = cast("list[JsonObject]", message.get("tool_calls") or [])
    thought = message.get("reasoning_content")
    text = _text(message.get("content"))
    if not calls and not thought:
        return text
    blocks: list[JsonObject] = []
    if thought:
        blocks.append({"type": "thinking", "thinking": thought, "signature": ""})
    if text:
        blocks.append({"type": "text", "text": text})
    return blocks + [_use(call) for call in calls]


def _use(call: JsonObject) -> JsonObject:
    function = cast("JsonObject", call.get("function") or {})
    arguments = function.get("arguments") or "{}"
    try:
        value = msgspec.json.decode(arguments, type=dict[str, Any]) if isinstance(arguments, str) else arguments
    except msgspec.DecodeError as error:
        raise RequestRejected(f"the arguments of a tool call are no JSON object: {arguments[:80]!r}") from error
    return {"type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""), "input": value}


def _call(block: JsonObject) -> JsonObject:
    arguments = msgspec.json.encode(block["input"]).decode()
    return {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": arguments}}


def _add_result(made: list[JsonObject], message: JsonObject) -> None:
    """The results of one turn's calls are blocks of one user message."""
    block = {
        "type": "tool_result",
        "tool_use_id": message.get("tool_call_id", ""),
        "content": _text(message.get("content")),
    }
    last = made[-1] if made else {}
    blocks = last.get("content")
    if last.get("role") == "user" and isinstance(blocks, list):
        cast("list[JsonObject]", blocks).append(block)
    else:
        made.append({"role": "user", "content": [block]})


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    try:
        return "".join(part.text for part in msgspec.convert(content, list[_TextPart]))
    except msgspec.ValidationError as error:
        raise RequestRejected("only text can be sent in Anthropic's form here") from error
