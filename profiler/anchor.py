"""The anchor: one fixed small request, always cold, measured now and then so that drift of the machine shows.

Its text begins with words of its own for each measurement, so that nothing of it is ever cached.
"""

from __future__ import annotations

import hashlib
import statistics
from array import array
from collections.abc import Sequence

from backends.base import Engine, EngineError, Request
from profiler.ledger import Ledger
from profiler.measure import Clock, clock_of, measure
from profiler.records import AnchorSample

REFERENCE = 5
"""Anchors in a row whose middle is what later ones are compared with: two disturbed ones do not move it."""

WORDS = 160
GENERATED_TOKENS = 16
_VOCABULARY = "river stone window paper garden silver morning letter bridge winter market lantern".split()


def anchor_request(label: str) -> Request:
    """The anchor for a label: the same length for every label, and other words from the first one on."""
    digest = hashlib.sha256(label.encode()).digest()
    words = [_VOCABULARY[(digest[i % 32] + i * 7) % len(_VOCABULARY)] for i in range(WORDS)]
    text = f"{digest.hex()[:8]} " + " ".join(words)
    return Request(messages=({"role": "user", "content": text},), max_tokens=GENERATED_TOKENS)


def measure_anchor(engine: Engine, ledger: Ledger, label: str, clock: Clock | None = None) -> AnchorSample:
    """Measure the anchor once, and note it in the ledger, since the engine has now seen it.

    A failed anchor gives a sample without rates: the next request will tell what is wrong.
    """
    request = anchor_request(label)
    measured = measure(engine, request, clock)
    try:
        prompt = engine.render(request) if measured.error is None else None
    except EngineError:
        prompt = None
    sequence = prompt.token_ids + array("i", measured.reply.token_ids or ()) if prompt else None
    ledger.add(f"anchor {label}", sequence)
    evidence = measured.evidence
    evaluated, generated = evidence.evaluated_tokens, evidence.generated_tokens
    return AnchorSample(
        at_ns=(clock or clock_of(engine))(),
        prefill_tokens_per_s=_rate(evaluated, evidence.prefill_ns),
        decode_tokens_per_s=_rate(generated - 1 if generated is not None else None, evidence.decode_ns),
    )


def typical(samples: Sequence[AnchorSample]) -> AnchorSample:
    """The middle (median) of each rate over several anchors, at the time of the last of them; there must be one."""
    return AnchorSample(
        at_ns=samples[-1].at_ns,
        prefill_tokens_per_s=_middle([sample.prefill_tokens_per_s for sample in samples]),
        decode_tokens_per_s=_middle([sample.decode_tokens_per_s for sample in samples]),
    )


def _middle(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return statistics.median(known) if known else None


def _rate(tokens: int | None, duration_ns: int | None) -> float | None:
    return tokens / (duration_ns / 1e9) if tokens is not None and tokens > 0 and duration_ns else None
