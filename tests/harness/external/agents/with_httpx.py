"""A small external agent over httpx: asks for a title, then works with one tool until the model calls it no more."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx

URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city on a day.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "day": {"type": "string"}},
            "required": ["city", "day"],
        },
    },
}


def ask(client: httpx.Client, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The assistant message that a streamed reply makes."""
    content = ""
    calls: dict[int, dict[str, str]] = {}
    body = {"messages": messages, "stream": True, "temperature": 0, "max_tokens": 60, **more}
    with client.stream("POST", URL, json=body) as reply:
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            for choice in json.loads(line[6:])["choices"]:
                content += choice["delta"].get("content") or ""
                for part in choice["delta"].get("tool_calls", ()):
                    call = calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
                    call["id"] = call["id"] or part.get("id", "")
                    call["name"] += part["function"].get("name") or ""
                    call["arguments"] += part["function"].get("arguments") or ""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in calls.values()
        ]
    return message


question = sys.stdin.read()
system = {"role": "system", "content": "You are a helpful assistant."}
history = [system, {"role": "user", "content": question}]
with httpx.Client(timeout=60) as client:
    for turn in range(5):
        answer = ask(client, history, tools=[TOOL])
        history.append(answer)
        if turn == 0:
            ask(client, [{"role": "system", "content": "Say a title."}, {"role": "user", "content": question}])
        if "tool_calls" not in answer:
            break
        for call in answer["tool_calls"]:
            history.append({"role": "tool", "tool_call_id": call["id"], "content": '{"weather": "sunny", "temp": 21}'})
    httpx.get(os.environ["OPENAI_BASE_URL"] + "/models").raise_for_status()
Path("answer.txt").write_text(history[-1]["content"])
print("the answer is in answer.txt")
