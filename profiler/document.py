"""The document of a cache run, which `--json` prints and the terminal report shows. Values only.

`profiler.summary` fills it. Its JSON Schema is docs/cache.schema.json, made from these types.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from profiler.probe_records import Probe
from profiler.records import CacheClass, Forcing, Guard, Machine
from profiler.residency.records import GpuSource, LoadSizes, MemorySource


class EngineName(msgspec.Struct, frozen=True):
    """Which engine, which build."""

    name: str
    build: str | None


class Verdict(msgspec.Struct, frozen=True):
    """Is the prompt cache stable under agent sessions? `stable` is `None` where the data cannot tell; `reason` says
    why.

    Judged on `judged_sessions`: those that no prompt-side fault of a harness was put into. `full_miss_rate` is over
    the `continuations` whose C is known or bounded, `reuse_efficiency` is Σ C / Σ min(L, P - 1) over them, `lost_s`
    sums both sides over the judged sessions and `lost_s_per_dispatch` divides it by the number of session replays.

    The share that decides lies between `reused_low` and `reused_high`, which differ only where C is inferred from the
    time to the first token. `judged_on` says of what: of the `reusable` tokens (as `reuse_efficiency`), or of the
    `history`, Σ C / Σ min(prev, P - 1), where the server does not show its prompts.
    """

    stable: bool | None
    reason: str
    judged_sessions: tuple[str, ...]
    continuations: int
    full_miss_rate: float | None
    reuse_efficiency: float | None
    lost_s: float | None
    lost_prompt_side_s: float | None
    lost_engine_side_s: float | None
    lost_s_per_dispatch: float | None
    judged_on: Literal["reusable", "history"] | None = None
    reused_low: float | None = None
    reused_high: float | None = None


class SessionRow(msgspec.Struct, frozen=True):
    """One session over all its repeats. The counts `hit` to `unknown` are over continuations and add up to them.

    `reuse_efficiency` is Σ C / Σ min(L, P - 1), the engine's part alone; `history_reused` is Σ C / Σ min(prev, P - 1),
    the share of the conversation so far that was not evaluated again, whoever lost the rest. Both over continuations.
    Where C is inferred from the time to the first token, `history_reused` lies between `_low` and `_high`.
    `lost_tokens` and `lost_s` are of both sides together, known also where the prompts are not shown.
    """

    name: str
    provokes: str
    side: str
    requests: int
    continuations: int
    hit: int
    partial: int
    full_miss: int
    unknown: int
    branch: int
    cold: int
    errors: int
    reuse_efficiency: float | None
    history_reused: float | None
    lost_prompt_side_tokens: int | None
    lost_engine_side_tokens: int | None
    lost_prompt_side_s: float | None
    lost_engine_side_s: float | None
    lost_s: float | None
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None
    ttft_median_ns: float | None
    ttft_p95_ns: float | None
    forcing: dict[Forcing, int]
    doubtful: int
    lost_tokens: int | None = None
    history_reused_low: float | None = None
    history_reused_high: float | None = None


class RequestRow(msgspec.Struct, frozen=True):
    """One request. Rates without a prefix: prefill by the engine's own time, decode by the client's clock.

    `decode_disagreement` is the client's decode rate over the engine's, minus 1. `lost_tokens` and `lost_s` are of both
    sides together. `cached_low_tokens` and `cached_high_tokens` bound what was cached (95 %) where the engine does not
    say it and `cached_source` is `ttft_inferred`.
    """

    session: str
    conversation: str
    turn: int
    repeat: int
    prompt_tokens: int | None
    cached_tokens: int | None
    cached_source: str | None
    lcp_tokens: int | None
    prev_tokens: int | None
    cache_class: CacheClass = msgspec.field(name="class")
    lost_prompt_side_tokens: int | None
    lost_engine_side_tokens: int | None
    lost_s: float | None
    confidence: str
    generated_tokens: int | None
    ttft_ns: int | None
    tpot_ns: float | None
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None
    client_prefill_tokens_per_s: float | None
    engine_decode_tokens_per_s: float | None
    decode_disagreement: float | None
    forcing: Forcing
    note: str | None
    guards: tuple[str, ...]
    error: str | None
    lost_tokens: int | None = None
    cached_low_tokens: int | None = None
    cached_high_tokens: int | None = None


class Level(msgspec.Struct, frozen=True):
    """A size over the samples of a session, bytes: the highest, the median of the last third, and how much more that is
    than the first sample.
    """

    peak_bytes: int
    steady_bytes: int
    growth_bytes: int


class ResidencyRow(msgspec.Struct, frozen=True):
    """Memory and energy of one session over all its repeats; what was not measured is `None`.

    `energy_j_per_dispatch` is the energy of the GPUs that the engine uses, whole boards with what they take idle, from
    the first request of a replay to the end of its last, divided by the replays; `energy_j_per_generated_token` divides
    it by the tokens generated.
    """

    session: str
    samples: int
    must_have: Level | None
    file: Level | None
    rss: Level | None
    swap: Level | None
    gpu: Level | None
    energy_j_per_dispatch: float | None
    energy_j_per_generated_token: float | None


class Residency(msgspec.Struct, frozen=True):
    """Where the memory of the engine went. `reason` says why there are no figures, where there are none.

    `must_have` memory cannot be dropped, `file` pages can (weights mapped from the model file); `source` and
    `gpu_sources` say how they were found (`ResidencySample`, `GpuReading`). `load` is what the engine says it
    allocated. The peaks are over the whole run, `worst_lateness_ns` is how late the sampler was at worst.
    """

    reason: str | None
    source: MemorySource | None
    load: LoadSizes | None
    samples: int
    worst_lateness_ns: int | None
    must_have_peak_bytes: int | None
    file_peak_bytes: int | None
    rss_peak_bytes: int | None
    swap_peak_bytes: int | None
    gpu_peak_bytes: int | None
    gpu_sources: tuple[GpuSource, ...]
    gpu_power_peak_w: float | None
    sessions: tuple[ResidencyRow, ...]


class Calibrated(msgspec.Struct, frozen=True):
    """The calibration of a server that does not say what it reused: cold prompts measured, the longest of them, and
    whether their times could be fitted.
    """

    prompts: int
    longest_tokens: int | None
    fitted: bool


class CacheDocument(msgspec.Struct, frozen=True):
    """A cache run: what ran, the verdict, a row per session and per request, and what to doubt.

    `residency` is `None` for a simulated engine, which has no memory of its own, and for runs from before it was kept.
    `probe` says what this server really reports; likewise `None`. `calibration` is `None` where none was needed.
    """

    schema: int
    run: str
    status: str
    target: str
    engine: EngineName
    machine: Machine
    verdict: Verdict
    sessions: tuple[SessionRow, ...]
    requests: tuple[RequestRow, ...]
    doubts: tuple[Guard, ...]
    notes: tuple[str, ...] = ()
    residency: Residency | None = None
    probe: Probe | None = None
    calibration: Calibrated | None = None
