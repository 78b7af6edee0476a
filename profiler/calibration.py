"""Bound what a silent server reused by the time to the first token: cold prompts of several lengths, then each request.

Sends the cold prompts, and says when a request's time must not be used; the mathematics is `profiler.inversion`.
What an engine reports itself always wins (`profiler.verdict`), so nothing here looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from backends.base import ContextOverflow, Engine, RequestRejected
from profiler.inversion import Calibration, Interval, Sample, fit, invert
from profiler.ledger import Ledger
from profiler.measure import Clock, Measurement
from profiler.probe import cold_request, finished, seen
from profiler.probe_records import CalibrationRecord, ColdPrompt, Probe
from profiler.records import Failure

__all__ = [
    "GONE",
    "LOADED",
    "calibration_of",
    "cold_prompts",
    "inferred_cached",
    "is_silent",
    "may_be_busy",
    "record_of",
]

LOADED: Final = "the model was loaded for this request"
"""How adapters begin the log line about a model that was loaded anew: the time of that request is not prefill."""
GENERATED_TOKENS: Final = 4
"""More than one: a first token that is half a character brings no text."""
GONE: Final = ("EngineDied", "Unreachable")
"""Failures after which no further request can be served."""


def is_silent(probe: Probe) -> bool:
    """Whether this server leaves out what it reused, and its times could tell: it counts prompts, and it streams."""
    return probe.cached == "not_reported" and probe.prompt_tokens.cold is not None and probe.streams is True


def cold_prompts(
    engine: Engine,
    ledger: Ledger,
    probe: Probe,
    lengths: Sequence[int],
    nonce: str,
    clock: Clock | None = None,
    *,
    on_request: Callable[[int, int, int], None] | None = None,
) -> Iterator[ColdPrompt]:
    """Send a prompt of about each length (tokens), each with first words of its own, and yield what could be measured.

    `on_request` is called before each with its number from 1, the number of all, and its length. Left out are prompts
    that failed, those that came while a failed one may still have been in progress, and those for which the model was
    loaded.

    Raises:
        EngineError: the engine is gone.
    """
    disturbed = False
    for number, length in enumerate(lengths, 1):
        if on_request is not None:
            on_request(number, len(lengths), length)
        characters = round(length / (probe.tokens_per_character or 1.0))
        request = cold_request(f"calibration {nonce} {number}", characters, GENERATED_TOKENS)
        measured = seen(engine, ledger, f"calibration {number}", request, clock)
        if measured.error is not None and measured.error.kind in GONE:
            finished(measured, "a prompt of the calibration")
        prompt, ttft = measured.evidence.prompt_tokens, measured.ttft_ns
        usable = measured.error is None and not disturbed and not _was_loaded(measured)
        if usable and prompt is not None and ttft is not None:
            yield ColdPrompt(prompt, ttft)
        disturbed = may_be_busy(measured.error)


def record_of(prompts: Sequence[ColdPrompt]) -> CalibrationRecord:
    """The cold prompts with the fit to them, as it is stored."""
    fitted = fit([Sample(prompt.prompt_tokens, prompt.ttft_ns) for prompt in prompts])
    plain = None if fitted is None else msgspec.json.decode(msgspec.json.encode(fitted), type=dict[str, Any])
    return CalibrationRecord(tuple(prompts), plain)


def calibration_of(record: CalibrationRecord | None) -> Calibration | None:
    """The fit of a stored calibration, `None` where there is none."""
    if record is None or record.fit is None:
        return None
    return msgspec.convert(record.fit, Calibration)


def inferred_cached(calibration: Calibration, measured: Measurement, *, disturbed: bool) -> Interval | str:
    """Bounds of the cached tokens of a request by its time to the first token, or why there are none.

    `disturbed`: another request was, or may have been, in progress at the same time.
    """
    prompt, ttft = measured.evidence.prompt_tokens, measured.ttft_ns
    if measured.error is not None:
        return "the request failed"
    if disturbed:
        return "another request may have been in progress, so its time tells nothing"
    if _was_loaded(measured):
        return "the model was loaded for this request, so its time tells nothing"
    if prompt is None or ttft is None:
        return "no text came, or the prompt was not counted"
    return invert(calibration, prompt, ttft)


def may_be_busy(error: Failure | None) -> bool:
    """Whether the engine may still be at work on a request that ended so: it broke off, and was not refused."""
    return error is not None and error.kind not in (ContextOverflow.__name__, RequestRejected.__name__)


def _was_loaded(measured: Measurement) -> bool:
    return any(line.startswith(LOADED) for line in measured.evidence.log)
