"""The document that `dyno simulate --json` prints and its report shows. Values only; every cached figure is predicted.

`harness.simulation.play` fills it. Its JSON Schema is docs/simulate.schema.json, made from these types.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "Agreement",
    "Difference",
    "Elsewhere",
    "LeftOut",
    "RequestRow",
    "Saving",
    "SettingRow",
    "SimulateDocument",
    "Verdict",
    "WorkloadRow",
]

TokenSource = Literal["run", "engine", "scripted"]
"""Whose token ids: those that a run stored, an engine's that rendered the session, or those of the scripted tokenizer,
whose counts are not the model's."""
Outcome = Literal["better", "defaults_best", "no_difference", "unknown"]


class Difference(msgspec.Struct, frozen=True):
    """A request of a run for which the model of the cache predicts another C than the engine reported."""

    request_id: int
    predicted_tokens: int
    measured_tokens: int
    why: str


class Agreement(msgspec.Struct, frozen=True):
    """The model of the cache, under a run's own settings, beside what the run's engine reported.

    `agreeing` of the `compared` requests have |C predicted - C measured| <= `granularity_tokens`, `exact` have the
    same number. `unknown` requests are those for which one of the two is not known. `reason` says why nothing was
    compared; `differing` holds the first few of the others.
    """

    engine: str
    settings: dict[str, str]
    compared: int
    agreeing: int
    exact: int
    unknown: int
    share: float | None
    granularity_tokens: int
    reason: str | None
    differing: tuple[Difference, ...]


class WorkloadRow(msgspec.Struct, frozen=True):
    """What was simulated: a stored run, or sessions played one after the other. Each starts on an empty cache.

    `requests` are those that count; those that failed in the run, and dyno's own, are served and not counted.
    """

    name: str
    kind: Literal["run", "sessions"]
    tokens: TokenSource
    sessions: tuple[str, ...]
    requests: int
    prompt_tokens: int
    longest_prompt_tokens: int
    agreement: Agreement | None


class Saving(msgspec.Struct, frozen=True):
    """Tokens that need not be evaluated, and their seconds with the 95 % interval; `None`: no run tells a price.

    `share` is of the tokens that are evaluated without it. Below 0 it costs instead.
    """

    tokens: int
    share: float | None
    s: float | None
    low_s: float | None
    high_s: float | None


class SettingRow(msgspec.Struct, frozen=True):
    """One engine with one setting, over all workloads. `options` holds what differs from the engine's defaults.

    `rank` counts from 1, equal where the difference is negligible (a thousandth of the prompt tokens). `reused_share`
    is Σ C over what a cache that forgets nothing would reuse. `hits`, `partial` and `full_misses` are over
    continuations, as in `dyno cache`. `prefill_s` is the price of the evaluated tokens. `saved` is against the
    engine's defaults; `sessions` has the evaluated tokens by session.
    """

    rank: int
    engine: str
    options: dict[str, str]
    is_default: bool
    is_own: bool
    evaluated_tokens: int
    reused_tokens: int
    reused_share: float | None
    hits: int
    partial: int
    full_misses: int
    prefill_s: float | None
    saved: Saving | None
    sessions: dict[str, int]


class LeftOut(msgspec.Struct, frozen=True):
    """A setting that cannot be compared with the others: it refuses requests, or its cache cannot be predicted."""

    engine: str
    options: dict[str, str]
    is_default: bool
    is_own: bool
    reason: str


class Limit(msgspec.Struct, frozen=True):
    """The cache that forgets nothing: the least that has to be evaluated."""

    evaluated_tokens: int
    reused_tokens: int
    prefill_s: float | None


class Elsewhere(msgspec.Struct, frozen=True):
    """A session in which another setting evaluates `tokens` fewer than the one that is best over all."""

    session: str
    engine: str
    options: dict[str, str]
    tokens: int


class Verdict(msgspec.Struct, frozen=True):
    """Which setting loses least. `engine` and `options` are the best row's; `reason` says it in one sentence."""

    outcome: Outcome
    reason: str
    engine: str | None
    options: dict[str, str]
    against_defaults: Saving | None
    against_own: Saving | None
    elsewhere: tuple[Elsewhere, ...]


class RequestRow(msgspec.Struct, frozen=True):
    """One request under one setting: the predicted C (`None`: not known), the slot, and what the policy found."""

    engine: str
    options: dict[str, str]
    session: str
    conversation: str
    turn: int
    prompt_tokens: int
    reusable_tokens: int
    cached_tokens: int | None
    measured_tokens: int | None
    slot: int | None
    why: str


class SimulateDocument(msgspec.Struct, frozen=True):
    """Predicted prompt caches: what was simulated, the verdict, a row per setting, the limit, and what to doubt.

    `fidelity` is always «simulate»: no engine served these requests, and nothing here is a measurement. `complete` is
    false where Ctrl-C ended it, after the settings listed. `priced_by` names the run whose prefill times give the
    seconds. `requests` is filled on request, for the best setting, the defaults and the run's own.
    """

    schema: int
    fidelity: Literal["simulate"]
    complete: bool
    workloads: tuple[WorkloadRow, ...]
    verdict: Verdict
    settings: tuple[SettingRow, ...]
    limit: Limit
    left_out: tuple[LeftOut, ...]
    priced_by: str | None
    notes: tuple[str, ...] = ()
    requests: tuple[RequestRow, ...] = ()
