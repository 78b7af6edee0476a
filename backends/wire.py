"""The wire: reply bytes to events and `Evidence`. Pure and shared by every HTTP adapter and the recording proxy.

Absent is not zero: a field that a server does not send stays `None`, and each figure names the field it came from.
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from backends.base import ContextOverflow, Delta, EngineError, EngineFault, Evidence, JsonObject, RequestRejected

_LINE_END = re.compile(rb"\r\n|\n|\r")


class SseDecoder:
    """Server-sent events, incrementally: feed bytes, take the `data` payloads that are complete.

    Comments (keep-alives) and other fields are dropped; several `data` lines of one event are joined by a newline.
    """

    __slots__ = ("_buffer", "_data")

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes as they arrived; returns the payloads completed by them, in order."""
        buffer = self._buffer + data
        # A lone CR at the end may be half of CRLF: wait for the next byte.
        held = b"\r" if buffer.endswith(b"\r") else b""
        *lines, rest = _LINE_END.split(buffer[: len(buffer) - len(held)])
        self._buffer = rest + held
        payloads: list[bytes] = []
        for line in lines:
            if not line:
                if self._data:
                    payloads.append(b"\n".join(self._data))
                    self._data = []
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        return payloads

    def end(self) -> list[bytes]:
        """The stream ended: what was complete but for its blank line."""
        payloads = self.feed(b"\n\n")
        self._buffer = b""
        return payloads


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None


class ChatChunk(msgspec.Struct):
    """One chunk of a streamed chat reply, or a whole reply that was not streamed."""

    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    error: Any = None

    def deltas(self) -> list[Delta]:
        """The text in this chunk: reasoning first, as engines send it."""
        found: list[Delta] = []
        for choice in self.choices:
            part = choice.delta or choice.message
            if part is None:
                continue
            reasoning = part.reasoning_content or part.reasoning
            if reasoning:
                found.append(Delta("reasoning", reasoning))
            if part.content:
                found.append(Delta("content", part.content))
            for call in part.tool_calls or ():
                if call.function is not None:
                    text = (call.function.name or "") + (call.function.arguments or "")
                    found.append(Delta("tool_call", text))
        return found

    def finish_reason(self) -> str | None:
        """The stop reason, if this chunk has one."""
        return next((c.finish_reason for c in self.choices if c.finish_reason), None)


_chunk = msgspec.json.Decoder(ChatChunk)


def decode_chunk(payload: bytes) -> ChatChunk:
    """Decode one payload.

    Raises:
        EngineFault: the payload is not a JSON object of that form; shows its beginning.
    """
    try:
        return _chunk.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = payload[:80].decode("utf-8", "replace")
        raise EngineFault(f"the reply cannot be parsed ({error}): {shown!r}") from error


def evidence_of(usage: JsonObject | None, timings: JsonObject | None) -> Evidence:
    """What a reply's `usage` (OpenAI or Anthropic form) and `timings` (llama-server) say about the request.

    Accounting is brought to one form: total = cached + evaluated. OpenAI's prompt count includes the cached tokens,
    Anthropic's excludes them, llama-server's `prompt_n` counts the evaluated ones.
    """
    usage, timings = usage or {}, timings or {}
    sources: dict[str, str] = {}

    def take(field: str, *candidates: tuple[str, Any]) -> int | None:
        for source, value in candidates:
            if (count := _count(value)) is not None:
                sources[field] = source
                return count
        return None

    cached = take(
        "cached_tokens",
        ("timings.cache_n", timings.get("cache_n")),
        ("usage.prompt_tokens_details.cached_tokens", _inside(usage, "prompt_tokens_details", "cached_tokens")),
        ("usage.input_tokens_details.cached_tokens", _inside(usage, "input_tokens_details", "cached_tokens")),
        ("usage.cache_read_input_tokens", usage.get("cache_read_input_tokens")),
        # llama-server before September 2025 had no cache_n.
        ("usage.prompt_tokens - timings.prompt_n", _difference(usage.get("prompt_tokens"), timings.get("prompt_n"))),
    )
    evaluated = take("evaluated_tokens", ("timings.prompt_n", timings.get("prompt_n")))
    anthropic = "cache_read_input_tokens" in usage
    stated = take(
        "prompt_tokens",
        ("usage.prompt_tokens", usage.get("prompt_tokens")),
        ("usage.input_tokens", usage.get("input_tokens")),
    )
    prompt = stated
    if stated is not None and anthropic and cached is not None:
        prompt = stated + cached
        sources["prompt_tokens"] = "usage.input_tokens + usage.cache_read_input_tokens"
        if written := _count(usage.get("cache_creation_input_tokens")):
            prompt += written
            sources["prompt_tokens"] += " + usage.cache_creation_input_tokens"
    if prompt is None and cached is not None and evaluated is not None:
        prompt = cached + evaluated
        sources["prompt_tokens"] = "timings.cache_n + timings.prompt_n"
    conflict = _conflict(usage, prompt, cached, evaluated, sources)
    if evaluated is None and prompt is not None and cached is not None and conflict is None:
        evaluated = prompt - cached
        sources["evaluated_tokens"] = "prompt_tokens - cached_tokens"
    generated = take(
        "generated_tokens",
        ("timings.predicted_n", timings.get("predicted_n")),
        ("usage.completion_tokens", usage.get("completion_tokens")),
        ("usage.output_tokens", usage.get("output_tokens")),
    )
    return Evidence(
        prompt_tokens=prompt,
        cached_tokens=cached,
        evaluated_tokens=evaluated,
        generated_tokens=generated,
        prefill_ns=_milliseconds(timings, "prompt_ms", "prefill_ns", sources),
        decode_ns=_milliseconds(timings, "predicted_ms", "decode_ns", sources),
        sources=sources,
        conflict=conflict,
    )


def _conflict(
    usage: JsonObject, prompt: int | None, cached: int | None, evaluated: int | None, sources: dict[str, str]
) -> str | None:
    """llama-server's own invariant, and two fields that must say the same."""
    if prompt is not None and cached is not None:
        if evaluated is not None and cached + evaluated != prompt:
            return f"the engine's counts disagree: cached {cached} + evaluated {evaluated} is not prompt {prompt}"
        if cached > prompt:
            return f"the engine's counts disagree: cached {cached} is more than prompt {prompt}"
    second = _count(_inside(usage, "prompt_tokens_details", "cached_tokens"))
    if sources.get("cached_tokens") == "timings.cache_n" and second is not None and second != cached:
        return f"the engine's counts disagree: timings.cache_n {cached}, usage says {second} cached"
    return None


def _count(value: Any) -> int | None:
    """A count, or `None` for what is none: absent, -1 (lemonade's «unknown»), a boolean, text."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _difference(total: Any, part: Any) -> int | None:
    total, part = _count(total), _count(part)
    return None if total is None or part is None else _count(total - part)


def _inside(value: JsonObject, *path: str) -> Any:
    found: Any = value
    for key in path:
        found = _object(found).get(key)
    return found


def _object(value: Any) -> JsonObject:
    """A JSON object as it is; nothing for any other value."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _milliseconds(timings: JsonObject, key: str, field: str, sources: dict[str, str]) -> int | None:
    value = timings.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        return None
    sources[field] = f"timings.{key}"
    return round(value * 1e6)


_CONTEXT_LENGTH = re.compile(r"maximum context length is (\d+) tokens")
"""How OpenAI, and vLLM and llama-cpp-python after it, name an overflow."""


def http_error(status: int, body: bytes) -> EngineError:
    """The engine error that stands for an HTTP error reply."""
    message, details = _error_text(body), _error_object(body)
    longest = _CONTEXT_LENGTH.search(message)
    if (
        details.get("type") == "exceed_context_size_error"
        or details.get("code") == "context_length_exceeded"
        or longest
        or "exceeds the available context size" in message
    ):
        prompt, context = details.get("n_prompt_tokens"), details.get("n_ctx") or (longest and int(longest[1]))
        counts = f": {prompt} tokens, context {context}" if prompt and context else f" ({message})"
        return ContextOverflow(
            f"the prompt does not fit the context{counts}", prompt_tokens=prompt, context_tokens=context
        )
    if status < 500:
        return RequestRejected(f"HTTP {status}: {message}", status=status)
    return EngineFault(f"HTTP {status}: {message}")


def stream_error(error: Any) -> EngineError:
    """The engine error that stands for an `error` object inside a stream."""
    body = msgspec.json.encode({"error": error})
    code = _object(error).get("code")
    return http_error(code if isinstance(code, int) else 500, body)


def _error_object(body: bytes) -> JsonObject:
    try:
        return _object(_object(msgspec.json.decode(body)).get("error"))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _error_text(body: bytes) -> str:
    message = _error_object(body).get("message")
    text = message if isinstance(message, str) else body.decode("utf-8", "replace")
    return " ".join(text.split())[:300] or "no message"


_SLOT = r"id\s+(?P<slot>\d+)\s*\|\s*task\s+(?P<task>-?\d+)\s*\|\s*"
_SLOT_LINE = re.compile(_SLOT)
_CACHE_LINE = re.compile(
    r"selected slot by|memory_seq_rm \[|kv cache rm \[|forcing full prompt re-processing|context checkpoint"
    r"|clearing cache for lora|slot context shift|prompt cache entry|cache size limit|cache token limit"
    r"|purging slot|failed to load prompt from cache|truncated = 1|saving idle slot|clearing slot|found better prompt"
)
LOG_LINES_KEPT = 64


def cache_log(text: str) -> tuple[tuple[str, ...], int | None]:
    """The lines of a llama-server log (verbosity 4) that bear on its cache, and the slot that served the last task.

    Keyed on `id N | task N |` alone, since prefixes and function names differ between versions and launchers.
    """
    kept: list[str] = []
    slot: int | None = None
    for line in text.splitlines():
        found = _SLOT_LINE.search(line)
        if found is not None and int(found["task"]) >= 0:
            slot = int(found["slot"])
        if _CACHE_LINE.search(line):
            kept.append(line[found.start() :] if found is not None else line.strip())
    return tuple(kept[:LOG_LINES_KEPT]), slot
