"""A small world to find causes in: a tokenizer, chat templates of several families, and two requests in a row.

The tokenizer is a real one in kind: words fall into pieces, marks are single tokens, and one text has many token lists.
The templates write what the families they are named after write (their chat templates as shipped with llama.cpp).
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from backends.base import Evidence, Facts, JsonObject
from profiler.causes.base import Case, Step
from profiler.causes.difference import changes
from profiler.ledger import common_prefix_tokens
from profiler.records import CacheVerdict, Forcing, Reply, RequestRecord, Stamps
from profiler.rendered import Rendered

_TOKEN = re.compile(r"<\|[\w_]+\|>|<\|?channel\|?>|\[/?[A-Z_]+\]|</?\w+>|\n+| ?[A-Za-z]{1,5}|\d|\s|.", re.DOTALL)
_IDS: dict[str, int] = {}

Template = Callable[..., str]


def ids_of(text: str) -> array[int]:
    """The canonical tokens of a text."""
    return array("i", [_IDS.setdefault(piece, len(_IDS) + 10) for piece in _TOKEN.findall(text)])


def other_ids_of(text: str) -> array[int]:
    """The same text as a sampler may have made it: one token a character."""
    return array("i", [_IDS.setdefault(piece, len(_IDS) + 10) for piece in text])


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "<|image_pad|>") for part in content)
    return content or ""


def _arguments(call: JsonObject) -> str:
    given = call["function"]["arguments"]
    return given if isinstance(given, str) else json.dumps(given)


def chatml(
    messages: Sequence[JsonObject],
    tools: Sequence[JsonObject] = (),
    *,
    keep_reasoning: bool = True,
    date: str | None = None,
    reparse: bool = False,
    empty_think: bool = False,
    hoist: bool = False,
    open_think: bool = False,
    indent: bool = False,
) -> str:
    """Qwen's family. `reparse` writes arguments anew, as a server that parses them does."""
    if hoist:
        late = [m for m in messages[1:] if m["role"] == "system"]
        first = {"role": "system", "content": "\n\n".join(_text(m["content"]) for m in [messages[0], *late])}
        messages = [first, *(m for m in messages[1:] if m["role"] != "system")]
    out = ""
    if tools or messages[0]["role"] == "system":
        out += "<|im_start|>system\n"
        out += f"Today Date: {date}\n\n" if date else ""
        out += _text(messages[0]["content"]) if messages[0]["role"] == "system" else ""
        if tools:
            listed = "".join("\n" + json.dumps(tool, indent=2 if indent else None) for tool in tools)
            out += f"\n\n# Tools\n\nYou may call functions:\n<tools>{listed}\n</tools>\n"
        out += "<|im_end|>\n"
    last_user = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "system" and index == 0:
            continue
        if role == "tool":
            out += f"<|im_start|>user\n<tool_response>\n{_text(message['content'])}\n</tool_response><|im_end|>\n"
        elif role == "assistant":
            kept = keep_reasoning or index > last_user
            out += f"<|im_start|>assistant\n{reply_of(message, keep_reasoning=kept, reparse=reparse)}<|im_end|>\n"
        else:
            out += f"<|im_start|>{role}\n{_text(message['content'])}<|im_end|>\n"
    thought = "<think>\n\n</think>\n\n" if empty_think else "<think>\n" if open_think else ""
    return out + "<|im_start|>assistant\n" + thought


def reply_of(message: JsonObject, *, keep_reasoning: bool = True, reparse: bool = False) -> str:
    """What a model of the family generates for a message."""
    out = ""
    if message.get("reasoning_content") and keep_reasoning:
        out += f"<think>\n{message['reasoning_content']}\n</think>\n\n"
    out += _text(message.get("content"))
    for call in message.get("tool_calls") or ():
        arguments = _arguments(call)
        arguments = json.dumps(json.loads(arguments)) if reparse else arguments
        out += f'\n<tool_call>\n{{"name": "{call["function"]["name"]}", "arguments": {arguments}}}\n</tool_call>'
    return out


def harmony(messages: Sequence[JsonObject], tools: Sequence[JsonObject] = ()) -> str:
    """The gpt-oss family: the analysis of finished turns is dropped."""
    out = "<|start|>system<|message|>You are ChatGPT.\nCurrent date: 2026-11-20<|end|>"
    last_final = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            if message.get("reasoning_content") and index > last_final:
                out += f"<|start|>assistant<|channel|>analysis<|message|>{message['reasoning_content']}<|end|>"
            out += f"<|start|>assistant<|channel|>final<|message|>{message['content']}<|end|>"
        else:
            role = "developer" if message["role"] == "system" else message["role"]
            out += f"<|start|>{role}<|message|>{_text(message['content'])}<|end|>"
    return out + "<|start|>assistant"


def user(text: Any) -> JsonObject:
    return {"role": "user", "content": text}


def system(text: Any) -> JsonObject:
    return {"role": "system", "content": text}


def assistant(text: str | None, *calls: JsonObject, thought: str | None = None) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": text}
    if thought is not None:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = list(calls)
    return message


def call(name: str, arguments: Any, call_id: str = "call_1") -> JsonObject:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(text: str, call_id: str = "call_1") -> JsonObject:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def tool(name: str, description: str = "", **properties: str) -> JsonObject:
    schema = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}}
    described = description or f"{name.title()} something in the workspace and report what was done."
    return {"type": "function", "function": {"name": name, "description": described, "parameters": schema}}


def step(
    messages: Sequence[JsonObject],
    text: str | None,
    *,
    tools: Sequence[JsonObject] = (),
    generated: str | None = None,
    said: dict[str, str] | None = None,
    forcing: Forcing = "token_ids",
    token_ids: array[int] | None = None,
    generated_ids: array[int] | None = None,
    parameters: JsonObject | None = None,
    request_id: int = 1,
) -> Step:
    """A request as it stood. `generated` is forced text; `said` what a server took a reply apart into."""
    request: JsonObject = {"messages": list(messages), "tools": list(tools), "parameters": parameters or {}}
    if generated is not None:
        request["forced"] = {"text": generated, "token_ids": [], "end_token_id": 0}
        if generated_ids is None:
            generated_ids = ids_of(generated + "<|im_end|>")
    ids = (token_ids if token_ids is not None else ids_of(text)) if text is not None else None
    rendered = Rendered(text, ids, generated_ids) if text is not None and ids is not None else None
    verdict = CacheVerdict("partial", None, None, None, None, None, True, 0, 0, 0, 0, "observed")
    reply = Reply(text=said if said is not None else {"content": generated} if generated else {})  # type: ignore[arg-type]
    record = RequestRecord(
        request_id,
        "session",
        "main",
        request_id,
        0,
        "dispatch" if said is not None else "rehearse",
        forcing,
        1,
        Stamps(1),
        Evidence(),
        reply,
        verdict,
    )
    return Step(record, request, rendered)


def case_of(before: Step, after: Step) -> Case:
    """The case of the second request, judged by its tokens."""
    verdict = after.record.verdict
    if before.rendered is not None and after.rendered is not None:
        prev, prompt = before.rendered.sequence, after.rendered.token_ids
        same = common_prefix_tokens(prev.tobytes(), prompt.tobytes())
        verdict = CacheVerdict(
            "partial", len(prompt), same, "timings.cache_n", same, len(prev), True,
            len(prev) - same if len(prev) - same > 8 else 0, 0, 0, 0, "observed",
        )  # fmt: skip
    after = msgspec.structs.replace(after, record=msgspec.structs.replace(after.record, verdict=verdict))
    facts = Facts("test", cache_kind="full", granularity_tokens=1)
    return Case(facts, after, before, before, changes=changes(before, after))


def turn(
    before: Sequence[JsonObject],
    reply: JsonObject,
    after: Sequence[JsonObject],
    *,
    tools: tuple[Sequence[JsonObject], Sequence[JsonObject]] = ((), ()),
    template: Template = chatml,
    options: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
    raw: str | None = None,
    raw_ids: array[int] | None = None,
) -> Case:
    """Two requests in a row: the first one's reply was generated as `raw` (else as the template writes it)."""
    generated = raw if raw is not None else reply_of(reply)
    first = step(
        before, template(before, tools[0], **options[0]), tools=tools[0], generated=generated, generated_ids=raw_ids
    )
    second = step(after, template(after, tools[1], **options[1]), tools=tools[1], request_id=2)
    return case_of(first, second)


def shrunk_in_truth(case: Case, appended: str) -> int:
    """By how many tokens all changes made the prompt shorter: a twin without them would be P + that."""
    verdict = case.step.record.verdict
    assert verdict.prev_tokens is not None
    assert verdict.prompt_tokens is not None
    return verdict.prev_tokens + len(ids_of(appended)) - verdict.prompt_tokens
