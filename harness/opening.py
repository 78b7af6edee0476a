"""How a run opens: probe what the server really reports, and calibrate its times if it does not say what it reused.

Sends requests and says how far it is; what they show is stored with the run, and nothing is printed here.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from backends.base import Engine, JsonObject
from harness.replay import Plan
from harness.sessions import Turn
from profiler.calibration import cold_prompts, is_silent, record_of
from profiler.inversion import calibration_lengths
from profiler.ledger import Ledger
from profiler.measure import Clock
from profiler.probe import probe
from profiler.probe_records import CalibrationRecord, Probe

DENSER = 1.2
"""Sessions have up to that many more tokens a character than the text of the probe (`profiler.probe`)."""
FREE_CONTEXT_TOKENS = 64
"""Left free of a calibration prompt that would fill the whole context: its template and its reply."""


class Opening(msgspec.Struct, frozen=True):
    """What is known of a server before its first session."""

    probe: Probe
    calibration: CalibrationRecord | None


def open_run(
    engine: Engine,
    plan: Plan,
    ledger: Ledger,
    *,
    nonce: str,
    calibrate: bool,
    on_calibration: Callable[[int, int, int], None] | None = None,
    clock: Clock | None = None,
) -> Opening:
    """Probe, and calibrate where that is wanted and needed; the ledger learns of every request.

    `nonce` is text that this server has not seen before. `on_calibration` is called before each cold prompt with its
    number from 1, the number of all, and its length in tokens.

    Raises:
        EngineError: the engine failed on the probe, or went away.
    """
    found = probe(engine, ledger, nonce, clock)
    if not (calibrate and is_silent(found)):
        return Opening(found, None)
    lengths = calibration_lengths(longest_prompt_tokens(plan, found, engine.facts().context_tokens))
    prompts = cold_prompts(engine, ledger, found, lengths, nonce, clock, on_request=on_calibration)
    return Opening(found, record_of(tuple(prompts)))


def longest_prompt_tokens(plan: Plan, found: Probe, context_tokens: int | None) -> int:
    """The longest prompt of a plan in tokens, estimated from its text; no more than the context holds."""
    characters = max(_characters(turn) for session in plan.sessions for turn in session.turns)
    estimate = round(characters * (found.tokens_per_character or 1.0) * DENSER)
    return estimate if context_tokens is None else max(1, min(estimate, context_tokens - FREE_CONTEXT_TOKENS))


def _characters(turn: Turn) -> int:
    """About what a template makes of a request: texts as they are, tools and calls as JSON."""
    return sum(map(_message_characters, turn.messages)) + len(msgspec.json.encode(turn.tools))


def _message_characters(message: JsonObject) -> int:
    texts = [value for value in message.values() if isinstance(value, str)]
    others = [value for value in message.values() if not isinstance(value, str)]
    return sum(map(len, texts)) + sum(len(msgspec.json.encode(value)) for value in others)
