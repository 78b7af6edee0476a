"""What a server really reports, as records: what the probe at the start of a run found, and what was calibrated.

Unknown is `None`, never 0. `profiler.probe` and `profiler.calibration` make these values.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

CachedFigure = Literal[
    "reported", "reported_when_not_0", "always_0", "always_the_same", "falls", "contradictory", "not_reported"
]
"""What the count of cached tokens did from a prompt that nothing had cached to an identical repeat of it.

`reported`: it rose. `reported_when_not_0`: left out, then there. `always_0`: 0 both times, so either the cache is off,
or cannot take up a whole prompt again, or the figure is none. `always_the_same`: not 0, and the same. `falls`: less the
second time, or left out. `contradictory`: the engine's counts contradict each other. `not_reported`: left out.
"""


class Figure(msgspec.Struct, frozen=True):
    """One figure for a prompt that nothing had cached (`cold`) and for its identical repeat; `source` is its field."""

    cold: int | None
    repeat: int | None
    source: str | None

    @property
    def reported(self) -> bool:
        """Whether it came at all."""
        return self.cold is not None or self.repeat is not None


class Probe(msgspec.Struct, frozen=True):
    """What this server says of two identical requests, the first of them cold. Units as in `backends.base.Evidence`.

    `ttft_ns` is by our own clock. `token_ids`: replies bring the ids of their tokens. `log`: lines of the engine's log
    that bear on its cache come with the replies. `prompts`: the engine shows a prompt as it sees it. `streams`: text
    arrives while it is generated, so that the time to the first token is one; `None` where the replies were too short
    to tell. `prompt_characters` is the length of the text that was sent, without what a template puts around it.
    """

    prompt_tokens: Figure
    cached_tokens: Figure
    evaluated_tokens: Figure
    generated_tokens: Figure
    prefill_ns: Figure
    decode_ns: Figure
    slot: Figure
    ttft_ns: Figure
    cached: CachedFigure
    token_ids: bool
    log: bool
    prompts: bool
    streams: bool | None
    prompt_characters: int

    @property
    def tokens_per_character(self) -> float | None:
        """Prompt tokens for a character of a text as agents send it; a template's own tokens are in it."""
        return None if self.prompt_tokens.cold is None else self.prompt_tokens.cold / self.prompt_characters


class ColdPrompt(msgspec.Struct, frozen=True):
    """One request of the calibration: a prompt of which nothing was cached, and the time to its first token."""

    prompt_tokens: int
    ttft_ns: int


class CalibrationRecord(msgspec.Struct, frozen=True):
    """The calibration of a server that does not say what it reused: every cold prompt measured, and the fit to them.

    `fit` holds `profiler.inversion.Calibration` as plain values, so that a run is read without the library that fits
    it, and is still read when the fit changes; `None` where the samples were too few or too noisy for one.
    """

    samples: tuple[ColdPrompt, ...]
    fit: dict[str, Any] | None
