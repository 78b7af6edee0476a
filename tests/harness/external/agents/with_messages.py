"""A small external agent that speaks Anthropic's form with nothing but the standard library."""

import json
import os
import sys
from typing import Any
from urllib.request import Request, urlopen

TOOL = {
    "name": "get_weather",
    "description": "Weather of a city on a day.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "day": {"type": "string"}}},
}


def ask(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks of a reply."""
    body = {
        "model": "tiny",
        "max_tokens": 60,
        "temperature": 0,
        "system": [{"type": "text", "text": "You are a helpful assistant."}],
        "messages": messages,
        "tools": [TOOL],
    }
    url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
    headers = {"Content-Type": "application/json", "anthropic-version": "2023-06-01", "x-api-key": "k"}
    with urlopen(Request(url, json.dumps(body).encode(), headers)) as reply:
        blocks: list[dict[str, Any]] = json.load(reply)["content"]
    return blocks


history: list[dict[str, Any]] = [{"role": "user", "content": sys.stdin.read()}]
for _ in range(3):
    said = ask(history)
    history.append({"role": "assistant", "content": said})
    uses = [block for block in said if block["type"] == "tool_use"]
    if not uses:
        print("".join(block["text"] for block in said if block["type"] == "text"))
        break
    texts = [{"type": "text", "text": "sunny, "}, {"type": "text", "text": "21"}]
    results = [{"type": "tool_result", "tool_use_id": use["id"], "content": texts} for use in uses]
    history.append({"role": "user", "content": results})
