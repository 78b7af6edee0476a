"""Requests and cases made by hand for the rules of the engine's side: what sequences share, and log lines."""

from __future__ import annotations

from array import array
from typing import Any

import msgspec

from backends.base import Evidence, Facts, JsonObject
from profiler.causes.base import Case, Step
from profiler.records import CacheVerdict, Failure, Reply, RequestRecord, Stamps
from profiler.rendered import Rendered

LLAMA = Facts("llama-server", slots=4, cache_kind="full", granularity_tokens=1, launched=True)
ONE = msgspec.structs.replace(LLAMA, slots=1)
SECOND = 1_000_000_000
IMAGE: JsonObject = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}


def ids(shared: int, length: int, salt: int) -> array[int]:
    """`length` tokens, of which the first `shared` are those of everybody, and the others are of `salt` alone."""
    return array("i", [*range(shared), *(100_000 * salt + i for i in range(length - shared))])


def step(
    request_id: int,
    tokens: array[int] | None,
    *,
    conversation: str = "main",
    slot: int | None = None,
    log: tuple[str, ...] = (),
    verdict: CacheVerdict | None = None,
    parameters: JsonObject | None = None,
    messages: tuple[JsonObject, ...] = (),
    error: Failure | None = None,
    first_delta: bool = True,
    lasts_s: int = 1,
    reloaded: bool | None = None,
) -> Step:
    """One request; the n-th is sent at n times 10 s, and takes `lasts_s`."""
    sent = request_id * 10 * SECOND
    done = sent + lasts_s * SECOND
    record = RequestRecord(
        request_id=request_id,
        session="s",
        conversation=conversation,
        turn=0,
        repeat=0,
        fidelity="rehearse",
        forcing="none",
        sent_unix_ns=0,
        stamps=Stamps(sent, first_delta_ns=done if first_delta else None, done_ns=None if error else done),
        evidence=Evidence(slot=slot, log=log, reloaded=reloaded),
        reply=Reply(),
        verdict=verdict or judged(0, 0, 0),
        error=error,
    )
    request: JsonObject = {"messages": list(messages), "parameters": parameters or {}}
    return Step(record, request, Rendered("", tokens) if tokens is not None else None)


def judged(prompt: int, cached: int, lcp: int) -> CacheVerdict:
    """A verdict of a loss on the engine's side alone."""
    lost = max(0, min(lcp, prompt - 1) - cached)
    return CacheVerdict("partial", prompt, cached, None, lcp, lcp, True, 0, lost, 0, None, "observed")


def case(
    cached: int,
    *,
    best: Step | None = None,
    between: tuple[Step, ...] = (),
    facts: Facts = LLAMA,
    lcp: int = 1000,
    load_log: str = "",
    own_requests: int = 0,
    **of_the_step: Any,
) -> Case:
    """The last request, number 9, of a conversation whose request 1 shares `lcp` tokens with its 1,200."""
    last = step(9, ids(lcp, 1200, 9), verdict=judged(1200, cached, lcp), **of_the_step)
    before = best or step(1, ids(lcp, lcp, 1), slot=2)
    return Case(facts, last, before, before, between, (), load_log, own_requests)
