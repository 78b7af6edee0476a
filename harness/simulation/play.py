"""Predict what prompt caches would reuse: requests as token sequences, an engine's cache policy, totals. No engine.

`simulate` is the whole of it for one engine and one setting. Requests that overlap in time, images, adapters and
speculative decoding are not modelled; what each policy leaves out is said in its module (`profiler.policies`).
Everything here is a prediction (fidelity `simulate`) and is stored nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from backends.base import Evidence
from profiler.ledger import Ledger, Match
from profiler.policies import Policy, Predicted, Sent, load
from profiler.records import CacheClass
from profiler.verdict import judge

__all__ = ["Limit", "Totals", "granularity_tokens", "limits_of", "play", "simulate", "totals_of"]

CHECKPOINT_OFFSET_TOKENS = 4
"""llama-server's checkpoints lie up to this and one micro-batch before the end of a prompt."""


class Limit(NamedTuple):
    """What any cache could do for a request: how it stands to earlier ones, and what one that never forgets reuses."""

    match: Match
    reusable_tokens: int


class Totals(msgspec.Struct, frozen=True):
    """Sums over requests, in tokens. `cached_tokens` is `None` if it is not known of one of them: unknown is no miss.

    `reusable_tokens` is what a cache that forgets nothing would reuse. `hits`, `partial` and `full_misses` count
    continuations, with the definitions of `profiler.verdict`; `firsts` are the first requests of conversations.
    """

    requests: int
    prompt_tokens: int
    cached_tokens: int | None
    reusable_tokens: int
    hits: int
    partial: int
    full_misses: int
    firsts: int
    unknown: int

    @property
    def evaluated_tokens(self) -> int | None:
        """Prompt tokens that are not reused."""
        return None if self.cached_tokens is None else self.prompt_tokens - self.cached_tokens

    @property
    def reused_share(self) -> float | None:
        """C over what could be reused; `None` where that is nothing, or C is not known."""
        if self.cached_tokens is None or not self.reusable_tokens:
            return None
        return min(1.0, self.cached_tokens / self.reusable_tokens)


def simulate(sents: Sequence[Sent], engine: str, options: msgspec.Struct | None = None) -> Totals:
    """What an engine's prompt cache would reuse of these requests, sent one after the other to an empty cache.

    Args:
        sents: the requests as the engine would see them, in order.
        engine: the name of a policy (`profiler.policies.policy_names`).
        options: the policy's `Options` (`harness.simulation.settings.options_of` makes them from text); `None` for the
            engine's defaults, with full attention and a context that everything fits.

    Raises:
        UnknownEngine: no policy models that engine.
    """
    chosen: msgspec.Struct = options if options is not None else load(engine).Options()
    rows = zip(sents, play(sents, engine, chosen), limits_of(sents), strict=True)
    return totals_of(rows, granularity_tokens(engine, chosen))


def play(sents: Iterable[Sent], engine: str, options: msgspec.Struct) -> tuple[Predicted, ...]:
    """The prediction for each request, in order. Raises UnknownEngine."""
    policy: Policy = load(engine).open_policy(options)
    return tuple(policy.serve(sent) for sent in sents)


def limits_of(sents: Iterable[Sent]) -> tuple[Limit, ...]:
    """What any cache could do for each request; the same for every engine and setting."""
    ledger = Ledger()
    policy: Policy = load("infinite").open_policy(load("infinite").Options())
    limits: list[Limit] = []
    for sent in sents:
        match = ledger.match(sent.conversation, sent.prompt)
        ledger.add(sent.conversation, sent.prompt + sent.generated)
        limits.append(Limit(match, policy.serve(sent).cached_tokens or 0))
    return tuple(limits)


def totals_of(rows: Iterable[tuple[Sent, Predicted, Limit]], granularity: int = 1) -> Totals:
    """The sums over some requests; `granularity` is the step in tokens in which the engine reuses."""
    classes: Counter[CacheClass] = Counter()
    requests = prompt = cached = reusable = unknown = 0
    for sent, predicted, limit in rows:
        tokens = len(sent.prompt)
        evidence = Evidence(prompt_tokens=tokens, cached_tokens=predicted.cached_tokens)
        classes[judge(limit.match, evidence, granularity_tokens=granularity).cache_class] += 1
        requests += 1
        prompt += tokens
        cached += predicted.cached_tokens or 0
        unknown += predicted.cached_tokens is None
        reusable += limit.reusable_tokens
    return Totals(
        requests=requests,
        prompt_tokens=prompt,
        cached_tokens=None if unknown else cached,
        reusable_tokens=reusable,
        hits=classes["hit"],
        partial=classes["partial"],
        full_misses=classes["full_miss"],
        firsts=classes["cold"] + classes["branch"],
        unknown=unknown,
    )


def granularity_tokens(engine: str, options: msgspec.Struct) -> int:
    """The step in which this engine can reuse its cache, by what the policy's options say of model and settings."""
    values: dict[str, Any] = msgspec.structs.asdict(options)
    if engine == "llama-server" and values["cache_kind"] != "full" and not values["swa_full"]:
        return CHECKPOINT_OFFSET_TOKENS + int(values["ubatch"])
    return int(values.get("block_size") or values.get("page_size") or 1)
