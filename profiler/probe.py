"""The probe: one request sent twice at the start of a run, to see what this server really reports.

Servers of one name differ by version and by flag, and a figure that is there may be none: the count of cached tokens is
believed to be one when it rises from a prompt that nothing has cached to an identical repeat. Measures and describes;
judges no session (`profiler.verdict`) and prints nothing (`profiler.report.server`).
"""

from __future__ import annotations

import hashlib
from array import array
from itertools import pairwise
from typing import Final

from backends import base
from backends.base import Engine, EngineError, EngineFault, Evidence, Request
from profiler.ledger import Ledger
from profiler.measure import Clock, Measurement, measure
from profiler.probe_records import CachedFigure, Figure, Probe

__all__ = ["cached_figure", "cold_request", "finished", "probe", "seen"]

GENERATED_TOKENS: Final = 24
"""As few as show whether they come one by one: on a busy machine a small model has made 8 before we are woken."""
WAIT_NS: Final = 200_000
"""A gap between two chunks in which we waited for the model. Chunks that were waiting for us are some 5 µs apart."""

_TEXT: Final = """\
You work in a repository. Read files before you change them, run the tests, and say briefly what you did.
{"type": "function", "function": {"name": "read_file", "description": "Read a file, or some lines of it.", "parameters":
{"type": "object", "properties": {"path": {"type": "string"}, "line": {"type": "integer"}}, "required": ["path"]}}}
src/parser/token_stream.py:41: in next_token
    def next_token(self, skip_blank: bool = True) -> Token | None:
        'The next token, or `None` at the end of the file.'
        while self._position < len(self._tokens):
            token = self._tokens[self._position]
            self._position += 1
            if not (skip_blank and token.kind == "blank"):
                return token
        return None
FAILED tests/test_parser.py::test_blank_lines - AssertionError: assert 14 == 12
The count is wrong because blank lines are skipped twice. I will look at the caller, then run the tests again.
"""
"""What agents send: of its tokens a character, eight tokenizers made from 0.82 to 1.17 times as many of the bundled
sessions. Of plain English words they make half as many."""

_FAILURES: Final[dict[str, type[EngineError]]] = {
    failure.__name__: failure
    for failure in (base.EngineDied, base.Unreachable, base.ContextOverflow, base.RequestRejected)
}


def probe(engine: Engine, ledger: Ledger, nonce: str, clock: Clock | None = None) -> Probe:
    """Send one request twice and say what came back; the ledger learns of both.

    The prompt has more than 100 words, so more than 64 tokens, and begins with one made from `nonce`, which nothing may
    have seen before: the first request is cold.

    Raises:
        EngineError: the engine failed on one of the two, as it would on the first request of a session.
    """
    request = cold_request(f"probe {nonce}", len(_TEXT), GENERATED_TOKENS)
    cold, repeat = (
        finished(seen(engine, ledger, f"probe {number}", request, clock), "the probe, the first request of a run")
        for number in (1, 2)
    )
    before, after = cold.evidence, repeat.evidence
    return Probe(
        prompt_tokens=_figure("prompt_tokens", before, after),
        cached_tokens=_figure("cached_tokens", before, after),
        evaluated_tokens=_figure("evaluated_tokens", before, after),
        generated_tokens=_figure("generated_tokens", before, after),
        prefill_ns=_figure("prefill_ns", before, after),
        decode_ns=_figure("decode_ns", before, after),
        slot=_figure("slot", before, after),
        ttft_ns=Figure(cold.ttft_ns, repeat.ttft_ns, "client"),
        cached=cached_figure(before, after),
        token_ids=cold.reply.token_ids is not None and repeat.reply.token_ids is not None,
        log=bool(before.log or after.log),
        prompts=_shows_prompts(engine, request),
        streams=_streams((cold, repeat)),
        prompt_characters=len(request.messages[0]["content"]),
    )


def cold_request(label: str, characters: int, max_tokens: int) -> Request:
    """A request of that many characters whose first word is made from the label, so that nothing of it is cached."""
    begin = f"{hashlib.sha256(label.encode()).hexdigest()[:16]}\n"
    text = (begin + _TEXT * (characters // len(_TEXT) + 1))[: max(characters, len(begin))]
    return Request(messages=({"role": "user", "content": text},), max_tokens=max_tokens)


def seen(
    engine: Engine, ledger: Ledger, conversation: str, request: Request, clock: Clock | None = None
) -> Measurement:
    """Measure a request that belongs to no session, and note it in the ledger: it is in the engine's cache now."""
    measured = measure(engine, request, clock)
    try:
        prompt = engine.render(request) if measured.error is None else None
    except EngineError:
        prompt = None
    ledger.add(conversation, prompt.token_ids + array("i", measured.reply.token_ids or ()) if prompt else None)
    return measured


def finished(measured: Measurement, request: str) -> Measurement:
    """The measurement, if it came to its end; `request` says what it was.

    Raises:
        EngineError: it did not; of the class that the engine raised.
    """
    if measured.error is None:
        return measured
    failure = _FAILURES.get(measured.error.kind, EngineFault)
    raise failure(f"the engine failed on {request}: {measured.error.message}")


def cached_figure(cold: Evidence, repeat: Evidence) -> CachedFigure:
    """What the count of cached tokens did from the first request to its repeat."""
    first, second = cold.cached_tokens, repeat.cached_tokens
    if cold.conflict or repeat.conflict:
        return "contradictory"
    if first is None:
        return "not_reported" if second is None else "reported_when_not_0" if second else "always_0"
    if second is None or second < first:
        return "falls"
    if second > first:
        return "reported"
    return "always_the_same" if first else "always_0"


def _figure(field: str, cold: Evidence, repeat: Evidence) -> Figure:
    source = repeat.sources.get(field) or cold.sources.get(field)
    return Figure(getattr(cold, field), getattr(repeat, field), source)


def _shows_prompts(engine: Engine, request: Request) -> bool:
    try:
        return engine.render(request) is not None
    except EngineError:
        return False


def _streams(measured: tuple[Measurement, ...]) -> bool | None:
    """Whether text came while it was generated: in several chunks, with time between some of them."""
    gaps = [after - before for one in measured for before, after in pairwise(one.stamps.deltas_ns)]
    if gaps:
        return max(gaps) >= WAIT_NS
    in_one_piece = [one.evidence.generated_tokens or 0 for one in measured if one.stamps.deltas_ns]
    return False if max(in_one_piece, default=0) > 2 else None
