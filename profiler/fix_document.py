"""What `dyno fix --json` prints: the levers, what each is predicted to save, and what it saved. Pure.

The structs are the document; `compare` makes a `Measured` of the records before and after. Its JSON Schema is
docs/fix.schema.json, made from these types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from backends.base import JsonObject
from profiler.pricing import Loss, PrefillModel
from profiler.records import Guard, RequestRecord

__all__ = [
    "Advice",
    "FixDocument",
    "FixRun",
    "Key",
    "LeverRow",
    "Measured",
    "Predicted",
    "Remaining",
    "compare",
    "key_of",
    "priced",
]

Key = tuple[str, int, int]
"""Which request: session, repeat, turn. A lever changes none of them."""

How = Literal["charge", "simulation", "upper_bound"]


class Predicted(msgspec.Struct, frozen=True):
    """What a lever is expected to save, on top of the levers before it; `s` with its 95 % interval.

    `how`: the `charge` of its causes, which is what the repaired session does not evaluate again; a `simulation` of the
    engine's cache policy with and without it; or that charge as an `upper_bound`, because no model tells how much of it
    the engine would reuse. `elsewhere` are tokens saved in sessions without these causes (negative: lost there).
    """

    tokens: int
    s: float | None
    low_s: float | None
    high_s: float | None
    how: How
    note: str
    elsewhere: dict[str, int] = {}


class Remaining(msgspec.Struct, frozen=True):
    """A cause that is still there with the lever set."""

    code: str
    title: str
    tokens: int
    lost_s: float | None


class Measured(msgspec.Struct, frozen=True):
    """Two replays of the same requests: tokens evaluated, and the prefill time that they took, before and after.

    Sums over the `requests` that succeeded in both; `failed` did not. Seconds are by `clock`: the `engine`'s own
    prefill time, or the client's time to the first token (`ttft`). `predicted_…` is the prediction for these requests
    alone. `doubtful` requests were measured on a disturbed machine; tokens are exact all the same.
    """

    requests: int
    failed: int
    doubtful: int
    before_tokens: int | None
    after_tokens: int | None
    saved_tokens: int | None
    predicted_tokens: int
    before_s: float | None
    after_s: float | None
    saved_s: float | None
    predicted_s: float | None
    ratio_tokens: float | None
    ratio_s: float | None
    clock: Literal["engine", "ttft"] | None
    remaining: tuple[Remaining, ...] = ()


class LeverRow(msgspec.Struct, frozen=True):
    """One lever. `number` is what `--lever` takes; `reason` says why it was not chosen, where it was not.

    `options`, `parameters` and `rewrite` are what dyno sets; `sessions` those in which its causes occur.
    """

    number: int
    codes: tuple[str, ...]
    text: str
    where: str
    also: str
    options: dict[str, str]
    parameters: JsonObject
    rewrite: str | None
    sessions: tuple[str, ...]
    chosen: bool
    reason: str
    predicted: Predicted
    measured: Measured | None = None


class Advice(msgspec.Struct, frozen=True):
    """A cause for which dyno can set nothing: what the user can do, if that is known."""

    code: str
    title: str
    tokens: int
    lost_s: float | None
    text: str


class FixRun(msgspec.Struct, frozen=True):
    """A run that was made: the numbers of the levers in force, none for the baseline, and its id."""

    levers: tuple[int, ...]
    run: str


class FixDocument(msgspec.Struct, frozen=True):
    """The levers of a run, and with `--apply` what they saved.

    `baseline` says what they were measured against: the unchanged sessions replayed in the same sitting (`again`), or
    the `stored` run. Levers that act on one session are set one after the other, each beside those before it.
    """

    schema: int
    run: str
    target: str
    engine: str
    build: str | None
    applied: bool
    status: str
    baseline: Literal["again", "stored"] | None
    priced_by: str | None
    levers: tuple[LeverRow, ...]
    total: Measured | None
    untestable: tuple[Advice, ...]
    runs: tuple[FixRun, ...]
    doubts: tuple[Guard, ...] = ()
    notes: tuple[str, ...] = ()


def key_of(record: RequestRecord) -> Key:
    """The request that a record is about."""
    return record.session, record.repeat, record.turn


def priced(model: PrefillModel | None, losses: Sequence[Loss]) -> tuple[float | None, float | None, float | None]:
    """Seconds of these losses with their interval. A `Loss` of negative tokens is prefill that comes on top."""
    if model is None:
        return None, None, None
    price = model.price(losses)
    if price.high_s is None:
        return price.s, None, None
    return price.s, 2 * price.s - price.high_s if price.s < 0 else price.low_s, price.high_s


def compare(
    before: Sequence[RequestRecord],
    after: Sequence[RequestRecord],
    predicted: Mapping[Key, Sequence[Loss]],
    model: PrefillModel | None,
    *,
    doubtful: int = 0,
    remaining: tuple[Remaining, ...] = (),
) -> Measured:
    """What was saved from `before` to `after` over the requests that both have, and what was predicted for these."""
    first = {key_of(record): record for record in before}
    pairs = [(first[key_of(record)], record) for record in after if key_of(record) in first]
    good = [(b, a) for b, a in pairs if b.error is None and a.error is None]
    before_tokens, after_tokens = _sums(good, lambda r: r.evidence.evaluated_tokens)
    before_ns, after_ns = _sums(good, lambda r: r.evidence.prefill_ns)
    clock: Literal["engine", "ttft"] | None = "engine"
    if before_ns is None or after_ns is None:
        before_ns, after_ns = _sums(good, lambda r: r.ttft_ns)
        clock = "ttft"
    losses = [loss for b, _ in good for loss in predicted.get(key_of(b), ())]
    predicted_tokens, predicted_s = sum(loss.tokens for loss in losses), priced(model, losses)[0]
    saved_tokens = None if before_tokens is None or after_tokens is None else before_tokens - after_tokens
    saved_s = None if before_ns is None or after_ns is None else (before_ns - after_ns) / 1e9
    return Measured(
        requests=len(good),
        failed=len(pairs) - len(good),
        doubtful=doubtful,
        before_tokens=before_tokens,
        after_tokens=after_tokens,
        saved_tokens=saved_tokens,
        predicted_tokens=predicted_tokens,
        before_s=None if before_ns is None else before_ns / 1e9,
        after_s=None if after_ns is None else after_ns / 1e9,
        saved_s=saved_s,
        predicted_s=predicted_s,
        ratio_tokens=saved_tokens / predicted_tokens if saved_tokens is not None and predicted_tokens else None,
        ratio_s=saved_s / predicted_s if saved_s is not None and predicted_s else None,
        clock=None if saved_s is None else clock,
        remaining=remaining,
    )


def _sums(
    pairs: Sequence[tuple[RequestRecord, RequestRecord]], of: Callable[[RequestRecord], int | None]
) -> tuple[int | None, int | None]:
    """Σ over both sides; `None` for both where one request does not tell it, so that like is compared with like."""
    values = [(of(b), of(a)) for b, a in pairs]
    known = [(b, a) for b, a in values if b is not None and a is not None]
    if not known or len(known) < len(values):
        return None, None
    return sum(b for b, _ in known), sum(a for _, a in known)
