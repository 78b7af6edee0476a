"""What `dyno quant --json` prints: the recommendation, what it rests on, and all that is known of each candidate.

Only structs. Its JSON Schema is docs/quant.schema.json, made from these types. Unknown is `None`; a `low` and `high`
that are `None` mean that there is no interval. Shares are from 0 to 1.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "CacheRow",
    "FlipsRow",
    "MemoryRow",
    "PartRow",
    "QualityRow",
    "QuantDocument",
    "QuantRow",
    "RateRow",
    "SpeedRow",
    "TasksRow",
    "TypeRow",
    "VerdictRow",
]

SCHEMA = 1


class TypeRow(msgspec.Struct, frozen=True):
    """How much of the weights is stored in one type, from the tensors."""

    type: str
    tensors: int
    parameters: int
    bytes: int


class PartRow(msgspec.Struct, frozen=True):
    """One part of a predicted memory. `at_most`: it may grow to this in use, and is in no sum.

    `reclaimable`: pages of the file, which may be dropped; `idle` ones are not read again after loading.
    """

    what: str
    bytes: int
    place: Literal["host", "device"]
    basis: str
    arithmetic: str
    reclaimable: bool
    idle: bool
    at_most: bool


class MemoryRow(msgspec.Struct, frozen=True):
    """Memory of host and GPU together. `must_have` is what cannot be dropped: predicted with a full context, measured
    when a prompt of `measured_at_tokens` had been read; `measured_peak_bytes` the most of it that the host had to have
    later.

    `predicted_at_fill_bytes` is what was predicted to be held with so much filled, and `error` the measured must-have
    over it, less 1. `predicted_bytes` and `measured_bytes` are with the pages of the model file that each token reads:
    they may be dropped, and would be read again at once. `full_context_bytes` is what it needs with a full context: by
    measurement, with what was predicted for the rest of the context (`full_context_measured`), else as predicted.
    `measured_file_bytes` are all pages of files. `growth_bytes` is what use may add. `basis` is the least sure one of
    the parts, `missing` are parts that are not known, in words.
    """

    predicted_bytes: int | None = None
    predicted_must_have_bytes: int | None = None
    predicted_device_bytes: int | None = None
    growth_bytes: int | None = None
    basis: str | None = None
    parts: tuple[PartRow, ...] = ()
    missing: tuple[str, ...] = ()
    measured_bytes: int | None = None
    measured_must_have_bytes: int | None = None
    measured_peak_bytes: int | None = None
    measured_file_bytes: int | None = None
    measured_device_bytes: int | None = None
    measured_at_tokens: int | None = None
    predicted_at_fill_bytes: int | None = None
    error: float | None = None
    full_context_bytes: int | None = None
    full_context_measured: bool | None = None
    fits: str | None = None
    fits_text: str | None = None


class RateRow(msgspec.Struct, frozen=True):
    """Measured rates at one depth, a value for each repeat, beside what was predicted there; tokens per second."""

    depth_tokens: int
    prefill_tokens_per_s: tuple[float, ...]
    decode_tokens_per_s: tuple[float, ...]
    predicted_prefill_tokens_per_s: float | None
    predicted_decode_tokens_per_s: float | None


class SpeedRow(msgspec.Struct, frozen=True):
    """Rates at the user's depth, tokens per second: geometric means of the repeats, with an interval of 95 %.

    `predicted_…` are those of the prediction nearest to the depth. `roofline_share` is measured decode at depth 0 over
    the bound that memory bandwidth sets.
    """

    depth_tokens: int | None = None
    decode_tokens_per_s: float | None = None
    decode_low: float | None = None
    decode_high: float | None = None
    prefill_tokens_per_s: float | None = None
    prefill_low: float | None = None
    prefill_high: float | None = None
    repeats: int = 0
    predicted_depth_tokens: int | None = None
    predicted_decode_tokens_per_s: float | None = None
    predicted_prefill_tokens_per_s: float | None = None
    basis: str | None = None
    roofline_decode_tokens_per_s: float | None = None
    roofline_share: float | None = None
    arithmetic: str | None = None
    by_depth: tuple[RateRow, ...] = ()
    load_s: tuple[float, ...] = ()
    energy_j_per_token: float | None = None


class QualityRow(msgspec.Struct, frozen=True):
    """The candidate against its reference. KLD in nats a token with an interval of 95 % over chunks.

    `band` is where the KLD lies beside the floor and the usual thresholds, which depend on the model; `tie` marks
    those that KLD must not rank.
    """

    reference: str
    chunks: int
    scored_tokens: int
    kld: float
    kld_low: float | None
    kld_high: float | None
    kld_floor: float | None
    kld_percentiles: dict[str, float]
    band: str
    band_text: str
    tie: bool
    perplexity: float
    reference_perplexity: float
    log_perplexity_ratio: float
    same_top: float
    rms_delta_p: float


class FlipsRow(msgspec.Struct, frozen=True):
    """Greedy tool calls that differ from the reference's; `p` of the exact McNemar test of `up` against `down`."""

    positions: int
    changed: int
    tool: int
    argument: int
    validity: int
    up: int
    down: int
    p: float


class CacheRow(msgspec.Struct, frozen=True):
    """How steady its prompt cache is, on the sessions of `dyno cache`; Wilson's interval of 95 %."""

    continuations: int
    full_miss_rate: float | None
    full_miss_low: float | None
    full_miss_high: float | None
    reuse_efficiency: float | None
    lost_s_per_dispatch: float | None
    unstable_against: str | None


class TasksRow(msgspec.Struct, frozen=True):
    """Dispatches of tasks. `state` and `text` are the candidate against `baseline`, paired over tasks.

    `success_low` and `success_high` are Wilson's, `dispatch_low_s` and `dispatch_high_s` Student's over tasks (95 %).
    """

    dispatches: int
    tasks: int
    judged: int
    passed: int
    success_rate: float | None
    success_low: float | None
    success_high: float | None
    score: float | None
    dispatch_s: float | None
    dispatch_low_s: float | None
    dispatch_high_s: float | None
    baseline: str | None = None
    state: Literal["better", "held", "not shown", "broken", "worse"] | None = None
    text: str | None = None
    beside: str | None = None


class QuantRow(msgspec.Struct, frozen=True):
    """A candidate. `place` counts from 1; it is `None` for one that is excluded or beaten by another (`beaten_by`).

    `label` is what the file calls its quant, `types` what it is. `excluded` is why the user cannot have it.
    """

    name: str
    path: str
    target: str
    container: str
    architecture: str | None
    label: str | None
    kv: str
    types: tuple[TypeRow, ...]
    bits_per_weight: float
    tensor_bytes: int
    parameters: int
    active_bytes: int | None
    active_parameters: int | None
    model_notes: tuple[str, ...]
    place: int | None
    beaten_by: str | None
    excluded: Literal["failed", "does not fit", "too slow"] | None
    excluded_reason: str | None
    memory: MemoryRow
    speed: SpeedRow
    quality: QualityRow | None
    flips: FlipsRow | None
    cache: CacheRow | None
    tasks: TasksRow | None
    doubts: tuple[str, ...]


class VerdictRow(msgspec.Struct, frozen=True):
    """The answer. `predicted`: nothing was measured. `cannot tell`: `chosen` leads, and the command `run` would decide.

    `none`: there is none to be had, or all are damaged. `details` are what the reason rests on, `runner_up_cost` is
    what the next best would cost and bring.
    """

    answer: Literal["recommended", "predicted", "cannot tell", "none"]
    chosen: str | None
    reason: str
    details: tuple[str, ...]
    runner_up: str | None
    runner_up_cost: str | None
    run: str | None
    doubts: tuple[str, ...]


class QuantDocument(msgspec.Struct, frozen=True):
    """A comparison of quants for a machine: what was wanted, the verdict, a row for each candidate, the best first.

    `rehearsed`: the tasks were played from a script, so that their outcome says nothing of the quality. `complete` is
    false where it was interrupted. `directory` holds what was measured.
    """

    context_tokens: int
    slots: int
    memory_limit_bytes: int | None
    least_decode_per_s: float | None
    machine: str | None
    verdict: VerdictRow
    candidates: tuple[QuantRow, ...]
    rehearsed: bool = False
    complete: bool = True
    directory: str | None = None
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA
