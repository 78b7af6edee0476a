"""What a reply's own figures say about its prompt, its cache and its times. Absent is not zero."""

from __future__ import annotations

from typing import Any

from backends.base import Evidence, JsonObject
from backends.wire.errors import object_of


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
    details = ("prompt_tokens_details", "input_tokens_details")
    said = (_count(_inside(usage, detail, "cached_tokens")) for detail in details)
    second = next((count for count in said if count is not None), None)
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
        found = object_of(found).get(key)
    return found


def _milliseconds(timings: JsonObject, key: str, field: str, sources: dict[str, str]) -> int | None:
    value = timings.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        return None
    sources[field] = f"timings.{key}"
    return round(value * 1e6)
