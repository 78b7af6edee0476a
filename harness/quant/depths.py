"""Measure an open engine's rates at depths of context: one repeat of one candidate, through `Engine.stream` alone.

For each depth two requests: a prompt of that length that is decoded from, then the same prompt extended, of which the
engine evaluates what is new. So prefill at a depth is seen only where the engine reuses the first prompt; where it
evaluates everything again (a recurrent model without checkpoints) the figure is left out, and a doubt says so. The
engine's own timings count; the client's clock stands in for those that it does not give.

Interleaving candidates, anchors and guards are the caller's. So is a first repeat that is thrown away: pages of a
freshly loaded file are read from the disk in it. Judges nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from backends.base import Engine, EngineError, Forcer, JsonObject, Request, RequestRejected, Resetter
from harness.quant.base import RateAt
from profiler.ledger import common_prefix_tokens
from profiler.measure import Clock, Measurement, measure
from profiler.probe import cold_request, finished

__all__ = ["DepthPlan", "DepthSample", "fitting", "measure_depths", "rates_at"]

PREFILL_REPLY_TOKENS: Final = 4
"""More than one: a first token that is half a character brings no text, and the client then has no time of it."""
FEWEST_SHARE: Final = 0.5
"""A rate needs so much of the tokens that were wanted: fewer are mostly the cost of beginning."""
DEPTH_TOLERANCE_SHARE: Final = 0.1
DEPTH_TOLERANCE_TOKENS: Final = 64
"""What a template adds behind the text is evaluated again."""
ROOM_TOKENS: Final = 64
"""For the template and for a count of tokens that could not be met exactly."""
TRIES: Final = 12
TOKENS_PER_CHARACTER: Final = 0.4
"""A first guess; the first prompt that is counted corrects it."""


class DepthPlan(msgspec.Struct, frozen=True):
    """At which depths to measure, ascending, and with how many tokens."""

    depths_tokens: tuple[int, ...] = (0, 4096)
    prefill_tokens: int = 512
    decode_tokens: int = 64


class DepthSample(msgspec.Struct, frozen=True):
    """One repeat at one depth: tokens per second, `None` where not told.

    `prefill_at_tokens` were in the cache when prefill began, `decode_at_tokens` when decoding began: what
    `depth_tokens` wanted. The sources say whose time it is, `doubts` why a figure is missing or not to be trusted.
    """

    depth_tokens: int
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    prefill_at_tokens: int | None = None
    decode_at_tokens: int | None = None
    prefill_source: str | None = None
    decode_source: str | None = None
    doubts: tuple[str, ...] = ()


def fitting(plan: DepthPlan, context_tokens: int | None) -> DepthPlan:
    """The plan without the depths for which the context of a slot has no room; `None` keeps all."""
    if context_tokens is None:
        return plan
    behind = max(plan.prefill_tokens + PREFILL_REPLY_TOKENS, plan.decode_tokens) + ROOM_TOKENS
    return msgspec.structs.replace(
        plan, depths_tokens=tuple(depth for depth in plan.depths_tokens if depth + behind <= context_tokens)
    )


def measure_depths(engine: Engine, plan: DepthPlan, nonce: str, clock: Clock | None = None) -> tuple[DepthSample, ...]:
    """One repeat: every depth of the plan once, ascending. Nothing may have seen `nonce` before: prompts begin with it.

    The cache of an engine that can empty it is emptied for depth 0.

    Raises:
        EngineError: a request failed; of the class that the engine raised. Depths measured before it are lost.
    """
    return tuple(_Repeat(engine, plan, nonce, clock).samples())


def rates_at(repeats: Iterable[DepthSample]) -> tuple[RateAt, ...]:
    """The samples of all repeats by depth, ascending; what was not told is left out."""
    by_depth: dict[int, list[DepthSample]] = {}
    for sample in repeats:
        by_depth.setdefault(sample.depth_tokens, []).append(sample)
    return tuple(
        RateAt(
            depth,
            tuple(one.prefill_tokens_per_s for one in samples if one.prefill_tokens_per_s is not None),
            tuple(one.decode_tokens_per_s for one in samples if one.decode_tokens_per_s is not None),
        )
        for depth, samples in sorted(by_depth.items())
    )


class _Repeat:
    """One repeat's requests, and what was learnt on the way: tokens a character, how the engine is kept talking."""

    def __init__(self, engine: Engine, plan: DepthPlan, nonce: str, clock: Clock | None) -> None:
        self._engine = engine
        self._plan = plan
        self._nonce = nonce
        self._clock = clock
        self._per_character = TOKENS_PER_CHARACTER
        self._ignores_end: bool | None = None

    def samples(self) -> Iterator[DepthSample]:
        plan = self._plan
        for depth in sorted(plan.depths_tokens):
            # A prompt of its own at depth 0, so that the prefill there finds nothing in the cache.
            label = self._nonce if depth else f"{self._nonce} decode"
            shorter = self._prompt(label, depth, plan.decode_tokens)
            decoded = self._decode(shorter)
            if not depth and isinstance(self._engine, Resetter):
                # Even the first words of the template, which every prompt has, would be reused.
                self._engine.reset()
            prefilled = self._sent(self._extended(shorter, depth), "the measurement of prefill")
            yield _sample(depth, plan, prefilled, decoded)

    def _extended(self, shorter: Request, depth: int) -> Request:
        """The prompt of which as many tokens as planned are new after `shorter`, if that is what the engine holds.

        What a template puts behind the text is new each time; a few tokens more than planned would be one more batch,
        which costs as much as a full one where the weights are what is read.
        """
        wanted = self._plan.prefill_tokens
        longer = self._prompt(self._nonce, depth + wanted, PREFILL_REPLY_TOKENS)
        held, new = self._rendered(shorter), self._rendered(longer)
        if not depth or held is None or new is None:
            return longer
        return self._prompt(
            self._nonce, common_prefix_tokens(held.tobytes(), new.tobytes()) + wanted, PREFILL_REPLY_TOKENS
        )

    def _prompt(self, label: str, tokens: int, reply_tokens: int) -> Request:
        """A request of that many prompt tokens: exactly, where the engine shows how it will see them."""
        characters = max(1, round(tokens / self._per_character))
        best: tuple[int, Request] | None = None
        for _ in range(TRIES):
            request = cold_request(label, characters, reply_tokens)
            seen = self._rendered(request)
            if seen is None:
                return request
            missing = tokens - len(seen)
            if best is None or abs(missing) < best[0]:
                best = (abs(missing), request)
            sent = len(request.messages[0]["content"])
            step = round(missing / self._per_character) or (missing > 0) - (missing < 0)
            if not step or sent + step < 1 or (sent > characters and step < 0):
                break
            characters = sent + step
        assert best is not None
        return best[1]

    def _rendered(self, request: Request) -> array[int] | None:
        try:
            prompt = self._engine.render(request)
        except EngineError:
            return None
        return None if prompt is None else prompt.token_ids

    def _decode(self, request: Request) -> Measurement:
        """Decode as many tokens as planned, by whatever keeps this engine from ending its reply before."""
        what = "the measurement of decoding"
        if self._ignores_end is not False:
            lasting = msgspec.structs.replace(request, parameters={"ignore_eos": True})
            measured = measure(self._engine, lasting, self._clock)
            self._ignores_end = measured.error is None or measured.error.kind != RequestRejected.__name__
            if self._ignores_end:
                return self._counted(finished(measured, what), request)
        return self._sent(self._forced(request), what)

    def _forced(self, request: Request) -> Request:
        if not isinstance(self._engine, Forcer):
            return request
        wanted = self._plan.decode_tokens
        reply: JsonObject = {"role": "assistant", "content": " ".join(map(str, range(wanted)))}
        whole = self._engine.forced(request, reply)
        if whole is None:
            return request
        # One less: the token that ends it is generated too.
        return msgspec.structs.replace(
            request, forced=msgspec.structs.replace(whole, token_ids=whole.token_ids[: max(1, wanted - 1)])
        )

    def _sent(self, request: Request, what: str) -> Measurement:
        return self._counted(finished(measure(self._engine, request, self._clock), what), request)

    def _counted(self, measured: Measurement, request: Request) -> Measurement:
        """Learn how many tokens a character makes, from prompts that are long enough to tell."""
        tokens, characters = measured.evidence.prompt_tokens, len(request.messages[0]["content"])
        if tokens is not None and tokens >= 2 * ROOM_TOKENS:
            self._per_character = tokens / characters
        return measured


def _sample(depth: int, plan: DepthPlan, prefilled: Measurement, decoded: Measurement) -> DepthSample:
    prefill, prefill_source, prefill_doubts = _prefill(depth, plan.prefill_tokens, prefilled)
    decode, decode_source, decode_doubts = _decode(plan.decode_tokens, decoded)
    return DepthSample(
        depth_tokens=depth,
        prefill_tokens_per_s=prefill,
        decode_tokens_per_s=decode,
        prefill_at_tokens=prefilled.evidence.cached_tokens,
        decode_at_tokens=decoded.evidence.prompt_tokens,
        prefill_source=prefill_source,
        decode_source=decode_source,
        doubts=(*prefill_doubts, *decode_doubts),
    )


def _prefill(depth: int, wanted: int, measured: Measurement) -> tuple[float | None, str | None, tuple[str, ...]]:
    """Tokens per second of what was evaluated, whose time it is, and doubts."""
    said = measured.evidence
    where = f"prefill at {depth} tokens"
    if said.conflict:
        return None, None, (f"{where}: the engine contradicts itself: {said.conflict}",)
    if said.reloaded:
        return None, None, (f"{where}: the model was loaded for this request",)
    evaluated, at = said.evaluated_tokens, said.cached_tokens
    if evaluated is None or at is None:
        if depth or said.prompt_tokens is None:
            return None, None, (f"{where}: this engine does not say what it reused",)
        evaluated, at = said.prompt_tokens, 0
    if abs(at - depth) > max(DEPTH_TOLERANCE_TOKENS, DEPTH_TOLERANCE_SHARE * depth):
        return None, None, (f"{where}: {at} tokens were reused, so {evaluated} were evaluated from there",)
    if evaluated < FEWEST_SHARE * wanted:
        return None, None, (f"{where}: only {evaluated} of {wanted} tokens were evaluated",)
    if said.prefill_ns:
        return evaluated * 1e9 / said.prefill_ns, said.sources.get("prefill_ns", "engine"), ()
    if measured.ttft_ns:
        doubt = f"{where}: by the client's clock, with the network, the queue and the first token in it"
        return evaluated * 1e9 / measured.ttft_ns, "client", (doubt,)
    return None, None, (f"{where}: no time is known",)


def _decode(wanted: int, measured: Measurement) -> tuple[float | None, str | None, tuple[str, ...]]:
    """(n - 1) tokens over the time from the first to the last, whose time it is, and doubts."""
    generated, stamps = measured.evidence.generated_tokens, measured.stamps
    if generated is None:
        return None, None, ("decoding: this engine does not count what it generated",)
    if generated < max(2, FEWEST_SHARE * wanted):
        return None, None, (f"decoding: the model ended its reply after {generated} of {wanted} tokens",)
    if measured.evidence.decode_ns:
        source = measured.evidence.sources.get("decode_ns", "engine")
        return (generated - 1) * 1e9 / measured.evidence.decode_ns, source, ()
    first, last = stamps.first_delta_ns, stamps.last_delta_ns
    if first is None or last is None or last <= first:
        return None, None, ("decoding: the reply came in one piece, so its time tells nothing",)
    return (generated - 1) * 1e9 / (last - first), "client", ()
