"""The scripted engine's tokenizer and chat template: small, exact and free of surprises. Pure.

A token is up to three visible ASCII characters with one space before them, up to four spaces, or one other
character. A newline and a template marker always stand alone, so a longer history extends the ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from backends.base import DeltaKind, JsonObject, Request, RequestRejected

START, END = "<|im_start|>", "<|im_end|>"
END_ID = (1 << 30) + 1
_MARKER_IDS = {START: 1 << 30, END: END_ID}
_MARKER = re.compile(r"(<\|im_start\|>|<\|im_end\|>)")
_PIECE = re.compile(r" ?[!-~]{1,3}| {1,4}|[^!-~ ]")
_SEGMENT = re.compile(r"(?P<reasoning><think>.*?</think>\s*)|<tool_call>.*?</tool_call>", re.DOTALL)


class Token(NamedTuple):
    """A token of output."""

    kind: DeltaKind
    text: str
    id: int


class _TextPart(msgspec.Struct):
    text: str


def tokenize(text: str) -> list[int]:
    """Token ids of a text; different pieces of text have different ids."""
    return [_token_id(piece) for piece in _pieces(text)]


def _pieces(text: str) -> Iterator[str]:
    for part in _MARKER.split(text):
        yield from [part] if part in _MARKER_IDS else _PIECE.findall(part)


def _token_id(piece: str) -> int:
    """ASCII: 7 bits a character after a leading 1, at most 29. Other characters and markers lie above."""
    if piece in _MARKER_IDS:
        return _MARKER_IDS[piece]
    if not piece.isascii():
        return (1 << 29) + ord(piece)
    value = 1
    for character in piece:
        value = value << 7 | ord(character)
    return value


def render_prompt(request: Request) -> str:
    """The prompt by a template like ChatML: tools as JSON in key order, reasoning and tool calls kept.

    Raises:
        RequestRejected: a message without a role, or content that is no text.
    """
    return "".join(_messages(request)) + f"{START}assistant\n"


def render_reply(message: JsonObject) -> str:
    """What the template puts for an assistant message, without its end; empty if that holds a marker."""
    text = _assistant(message)
    return "" if _MARKER.search(text) else text


def _messages(request: Request) -> Iterator[str]:
    messages = list(request.messages)
    system = _text(messages.pop(0)) if messages and messages[0].get("role") == "system" else ""
    if request.tools:
        listed = "".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in request.tools)
        system += ("\n\n" if system else "") + f"# Tools\n<tools>{listed}\n</tools>"
    if system:
        yield f"{START}system\n{system}{END}\n"
    for message in messages:
        role = message.get("role")
        if not isinstance(role, str):
            raise RequestRejected("a message has no role", status=400)
        text = _assistant(message) if role == "assistant" else _text(message)
        if role == "tool":
            role, text = "user", f"<tool_response>\n{text}\n</tool_response>"
        yield f"{START}{role}\n{text}{END}\n"


def _assistant(message: JsonObject) -> str:
    parts = [_text(message)]
    for call in message.get("tool_calls") or ():
        function: JsonObject = call.get("function") or {}
        named = f'{{"name": "{function.get("name")}", "arguments": {function.get("arguments")}}}'
        parts.append(f"<tool_call>\n{named}\n</tool_call>")
    reasoning = message.get("reasoning_content")
    return (f"<think>\n{reasoning}\n</think>\n\n" if reasoning else "") + "\n".join(filter(None, parts))


def _text(message: JsonObject) -> str:
    content: Any = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    try:
        return "".join(part.text for part in msgspec.convert(content, list[_TextPart]))
    except msgspec.ValidationError as error:
        raise RequestRejected(f"the content of a message is no text: {error}", status=400) from error


def output_tokens(text: str) -> list[Token]:
    """The tokens of an output; what is in `<think>` or `<tool_call>`, with the tags, is of that kind."""
    kinds: list[DeltaKind] = ["content" for _ in text]
    for found in _SEGMENT.finditer(text):
        kind: DeltaKind = "reasoning" if found["reasoning"] else "tool_call"
        kinds[found.start() : found.end()] = [kind for _ in found.group()]
    tokens: list[Token] = []
    start = 0
    for piece in _pieces(text):
        tokens.append(Token(kinds[start], piece, _token_id(piece)))
        start += len(piece)
    return tokens
