"""How fast a model would be on a machine: the prediction as a value. Values only."""

from __future__ import annotations

from typing import Literal

import msgspec

SpeedBasis = Literal["calibrated", "roofline"]
"""`calibrated`: with the rate at which this machine was measured to read this quant type; `roofline`: with the
bandwidth of its memory, which is a bound."""


class SpeedPoint(msgspec.Struct, frozen=True):
    """Rates at a depth of context, tokens per second; `None` where not told."""

    depth_tokens: int
    decode_tokens_per_s: float | None
    prefill_tokens_per_s: float | None


class SpeedPrediction(msgspec.Struct, frozen=True):
    """Rates by depth. `roofline_decode_tokens_per_s` (at depth 0) is bandwidth over the bytes of a token; `arithmetic`
    in words.
    """

    points: tuple[SpeedPoint, ...]
    basis: SpeedBasis
    roofline_decode_tokens_per_s: float | None
    arithmetic: str
