"""The lines of the report on what the server really reports, as its probe found it. Formatting alone."""

from __future__ import annotations

from typing import Final

from profiler.document import CacheDocument
from profiler.probe_records import CachedFigure, Probe

_FIGURES: Final = {
    "prompt_tokens": "prompt tokens",
    "evaluated_tokens": "evaluated tokens",
    "generated_tokens": "generated tokens",
    "prefill_ns": "prefill time",
    "decode_ns": "decode time",
    "slot": "slot",
}
_CACHED: Final[dict[CachedFigure, str]] = {
    "reported": "cached tokens",
    "reported_when_not_0": "cached tokens (left out when 0)",
    "not_reported": "cached tokens",
}


def server_lines(document: CacheDocument) -> list[str]:
    """What this server reports and what it does not; nothing where it was not probed."""
    probe = document.probe
    if probe is None:
        return []
    parts = [(probe.cached != "not_reported", _CACHED.get(probe.cached, "cached tokens (doubtful)"))]
    parts += [(getattr(probe, field).reported, words) for field, words in _FIGURES.items()]
    parts += [(probe.token_ids, "token ids"), (probe.log, "log lines"), (probe.prompts, "prompts")]
    said, unsaid = ([words for there, words in parts if there is wanted] for wanted in (True, False))
    lines = [f"this server reports: {', '.join(said)}" + (f"; not reported: {', '.join(unsaid)}" if unsaid else "")]
    if document.calibration is not None:
        done = document.calibration
        longest = f" of up to {done.longest_tokens:,} tokens" if done.longest_tokens else ""
        prompts = f"{done.prompts} timed cold prompts{longest}"
        inferred = f"what it reused is inferred from {prompts}"
        lines.append(inferred if done.fitted else f"{prompts} were too few or too noisy to infer what it reused")
    return lines


def server_warnings(probe: Probe | None) -> list[str]:
    """Why the count of cached tokens may be none."""
    if probe is None or probe.cached in _CACHED:
        return []
    figure = f"{probe.cached_tokens.cold} for a cold prompt and {probe.cached_tokens.repeat} for its identical repeat"
    why = {
        "always_0": "its cache is off, or cannot take up a whole prompt again, or the figure is none",
        "always_the_same": "the figure does not follow the cache",
        "falls": "the figure does not follow the cache",
        "contradictory": "its counts contradict each other",
    }[probe.cached]
    return [f"! cached tokens were said to be {figure}: {why}"]
