"""A comparison of quants as values: what is wanted, the candidates, and what is known of each. Starts nothing."""

from __future__ import annotations

import msgspec

from backends.base import Target
from profiler.fit.base import FitVerdict, MemoryPrediction
from profiler.model_file.base import ModelFile
from profiler.quality.base import Quality
from profiler.speed.base import SpeedPrediction


class Wanted(msgspec.Struct, frozen=True):
    """What the user needs: context of each slot, slots, and limits; `None` is no limit of the user's."""

    context_tokens: int
    slots: int = 1
    memory_bytes: int | None = None
    least_decode_per_s: float | None = None


class Candidate(msgspec.Struct, frozen=True):
    """Weights with a type of KV cache. `name` tells it apart from the others (`Q4_K_M`, `Q4_K_M kv=q8_0`)."""

    name: str
    model: ModelFile
    kv: str
    target: Target


class PartFilled(msgspec.Struct, frozen=True):
    """What a candidate would take while only so many tokens of one slot's context are filled."""

    tokens: int
    memory: MemoryPrediction


class Predicted(msgspec.Struct, frozen=True):
    """What is known of a candidate before it is loaded. `memory` is of a full context."""

    memory: MemoryPrediction
    fit: FitVerdict
    speed: SpeedPrediction | None
    part_filled: PartFilled | None = None


class RateAt(msgspec.Struct, frozen=True):
    """Measured rates at a depth of context, one value for each repeat, tokens per second."""

    depth_tokens: int
    prefill_tokens_per_s: tuple[float, ...]
    decode_tokens_per_s: tuple[float, ...]


class CacheStability(msgspec.Struct, frozen=True):
    """What `dyno cache` found for a candidate: shares from 0 to 1, seconds."""

    full_miss_rate: float | None
    reuse_efficiency: float | None
    lost_s_per_dispatch: float | None
    continuations: int


class TaskResult(msgspec.Struct, frozen=True):
    """One dispatch of one task: verified success, score from 0 to 1, seconds of work."""

    task: str
    repeat: int
    success: bool | None
    score: float | None
    wall_s: float


class Flips(msgspec.Struct, frozen=True):
    """Tool-call positions at which the greedy call of the candidate differs from the reference's, paired.

    `changed` counts any difference; `up` are calls that were wrong by the recorded one and became right, `down` the
    reverse.
    """

    positions: int
    changed: int
    tool: int
    argument: int
    validity: int
    up: int
    down: int


class Measured(msgspec.Struct, frozen=True):
    """What was measured of a candidate on its real engine. `None` is what was not measured.

    `must_have_bytes`, `file_bytes` and `device_bytes` are of a fresh load when the longest prompt had `filled_tokens`,
    the `_peak_` ones the most that was seen later.
    """

    load_s: tuple[float, ...] = ()
    must_have_bytes: int | None = None
    file_bytes: int | None = None
    device_bytes: int | None = None
    rates: tuple[RateAt, ...] = ()
    cache: CacheStability | None = None
    tasks: tuple[TaskResult, ...] = ()
    energy_j_per_token: float | None = None
    doubts: tuple[str, ...] = ()
    must_have_peak_bytes: int | None = None
    file_peak_bytes: int | None = None
    filled_tokens: int | None = None


class CandidateResult(msgspec.Struct, frozen=True):
    """All that is known of a candidate."""

    candidate: Candidate
    predicted: Predicted | None = None
    measured: Measured | None = None
    quality: Quality | None = None
    flips: Flips | None = None
    failed: str | None = None
    """Why it could not be measured, in words."""
