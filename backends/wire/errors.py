"""Error replies and error payloads as our errors."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from backends.base import ContextOverflow, EngineError, EngineFault, JsonObject, RequestRejected

_CONTEXT_LENGTH = re.compile(r"maximum context length is (\d+) tokens")
"""How OpenAI, and vLLM and llama-cpp-python after it, name an overflow."""

_STATUS_OF_CODE = {"rate_limit_exceeded": 429, "invalid_prompt": 400}
"""Error codes inside a stream that refuse the request, by the HTTP status that they have outside of one."""


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
    code = object_of(error).get("code")
    return http_error(code if isinstance(code, int) else _STATUS_OF_CODE.get(str(code), 500), body)


def _error_object(body: bytes) -> JsonObject:
    try:
        return object_of(object_of(msgspec.json.decode(body)).get("error"))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _error_text(body: bytes) -> str:
    message = _error_object(body).get("message")
    text = message if isinstance(message, str) else body.decode("utf-8", "replace")
    return " ".join(text.split())[:300] or "no message"


def object_of(value: Any) -> JsonObject:
    """A JSON object as it is; nothing for any other value."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}
