"""The records of a run: what was measured is a frozen value, what follows from it is a property.

Units are in the names (`_ns`, `_bytes`, `_tokens`, `_per_s`); `_ns` stamps are on one monotonic clock, `_unix_ns` on
the wall clock. Unknown is `None`, never 0. A failed request is a record with an `error`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import msgspec

from backends.base import Evidence, Facts
from profiler.probe_records import CalibrationRecord, Probe
from profiler.replies import Reply as Reply
from profiler.replies import ToolCall as ToolCall
from profiler.residency.records import LoadSizes

SCHEMA = 2
"""Version of every stored record. History: 1, the first one; 2, what a server reports and what is inferred of it."""

Fidelity = Literal["simulate", "rehearse", "dispatch"]
Forcing = Literal["token_ids", "length", "none"]
"""How the recorded reply was replayed: token by token as recorded, only as long as recorded, or not at all."""

CacheClass = Literal["cold", "hit", "partial", "full_miss", "branch", "unknown"]
Confidence = Literal["observed", "inferred", "unknown"]
Severity = Literal["note", "doubtful"]


class Failure(msgspec.Struct, frozen=True):
    """Why a request has no full result. `kind` is the class of the engine error."""

    kind: str
    message: str


class Stamps(msgspec.Struct, frozen=True):
    """When things happened to one request, in ns of one monotonic clock; `None`: it did not happen.

    `first_sign_ns` is the first event of any kind, `first_delta_ns` the first text (content, reasoning or tool call),
    `first_output_ns` the first that is not reasoning. `deltas_ns` holds the arrival of every delta in order.
    """

    sent_ns: int
    first_sign_ns: int | None = None
    first_delta_ns: int | None = None
    first_output_ns: int | None = None
    last_delta_ns: int | None = None
    done_ns: int | None = None
    deltas_ns: tuple[int, ...] = ()


class Guard(msgspec.Struct, frozen=True):
    """A reason to doubt the figures taken at this time; `code` is one of `profiler.guards.CODES`."""

    code: str
    severity: Severity
    text: str


class CacheVerdict(msgspec.Struct, frozen=True):
    """What the cache did for one request, against what could have been reused.

    `lcp_tokens` (L) is the token-level common prefix with the best earlier sequence of this load epoch, `prev_tokens`
    the length of the sequence that this request continues; definitions in `profiler.verdict`.
    The `_ns` of a loss are the part of this request's prefill that the lost tokens took. `lost_unsplit_…` is the loss
    of both sides together where the prompts are not shown, so that the side cannot be told; `None` where it can.
    Where the engine does not say C, `cached_low_tokens` and `cached_high_tokens` may bound it (95 %, by the time to
    the first token), and `cached_tokens` stays `None`.
    """

    cache_class: CacheClass
    prompt_tokens: int | None
    cached_tokens: int | None
    cached_source: str | None
    lcp_tokens: int | None
    prev_tokens: int | None
    continuation: bool
    lost_prompt_side_tokens: int | None
    lost_engine_side_tokens: int | None
    lost_prompt_side_ns: int | None
    lost_engine_side_ns: int | None
    confidence: Confidence
    note: str | None = None
    cached_low_tokens: int | None = None
    cached_high_tokens: int | None = None
    lost_unsplit_tokens: int | None = None
    lost_unsplit_ns: int | None = None

    @property
    def lost_tokens(self) -> int | None:
        """Tokens lost on both sides together; `None` if that is not known."""
        return _both(self.lost_prompt_side_tokens, self.lost_engine_side_tokens, self.lost_unsplit_tokens)

    @property
    def lost_ns(self) -> int | None:
        """Prefill time lost on both sides together, ns; `None` if that is not known."""
        return _both(self.lost_prompt_side_ns, self.lost_engine_side_ns, self.lost_unsplit_ns)

    @property
    def cached_bounds_tokens(self) -> tuple[int, int] | None:
        """What C is at least and at most: twice the same where the engine says it, `None` where nothing is known."""
        if self.cached_tokens is not None:
            return self.cached_tokens, self.cached_tokens
        if self.cached_low_tokens is None or self.cached_high_tokens is None:
            return None
        return self.cached_low_tokens, self.cached_high_tokens

    @property
    def reusable_tokens(self) -> int | None:
        """Tokens of this prompt that an unbounded cache would have held: L, but never the whole prompt."""
        if self.lcp_tokens is None or self.prompt_tokens is None:
            return None
        return min(self.lcp_tokens, self.prompt_tokens - 1)

    @property
    def history_tokens(self) -> int | None:
        """Tokens of the conversation so far that this prompt could hold again: min(prev, P - 1)."""
        if self.prev_tokens is None or self.prompt_tokens is None:
            return None
        return min(self.prev_tokens, self.prompt_tokens - 1)


class RequestRecord(msgspec.Struct, frozen=True):
    """One request: who sent it, when things happened, what the engine said, how the cache was judged.

    `engine` is the target that answered, where that is another one than the run's: a model that writes summaries.
    """

    request_id: int
    session: str
    conversation: str
    turn: int
    repeat: int
    fidelity: Fidelity
    forcing: Forcing
    sent_unix_ns: int
    stamps: Stamps
    evidence: Evidence
    reply: Reply
    verdict: CacheVerdict
    error: Failure | None = None
    engine: str | None = None
    schema: int = SCHEMA

    @property
    def ttft_ns(self) -> int | None:
        """Time to the first text of any kind (content, reasoning or tool call)."""
        return _span(self.stamps.sent_ns, self.stamps.first_delta_ns)

    @property
    def ttfr_ns(self) -> int | None:
        """Time to the first sign of a reply."""
        return _span(self.stamps.sent_ns, self.stamps.first_sign_ns)

    @property
    def ttfo_ns(self) -> int | None:
        """Time to the first output that is not reasoning."""
        return _span(self.stamps.sent_ns, self.stamps.first_output_ns)

    @property
    def e2e_ns(self) -> int | None:
        """Time to the end of the reply."""
        return _span(self.stamps.sent_ns, self.stamps.done_ns)

    @property
    def tpot_ns(self) -> float | None:
        """Time per output token after the first: (e2e - TTFT) / (n - 1); undefined for n <= 1 (as vLLM has it)."""
        n = self.evidence.generated_tokens
        if n is None or n <= 1 or self.e2e_ns is None or self.ttft_ns is None:
            return None
        return (self.e2e_ns - self.ttft_ns) / (n - 1)

    @property
    def chunk_gaps_ns(self) -> tuple[int, ...]:
        """Gaps between deltas as they arrived; a chunk may hold several tokens, so these are not token gaps."""
        at = self.stamps.deltas_ns
        return tuple(after - before for before, after in pairwise(at))

    @property
    def prefill_tokens_per_s(self) -> float | None:
        """Prefill rate over the evaluated (uncached) tokens alone, by the engine's own time."""
        return _rate(self.evidence.evaluated_tokens, self.evidence.prefill_ns)

    @property
    def client_prefill_tokens_per_s(self) -> float | None:
        """Evaluated tokens over TTFT: the client's view, which holds queue, template and sampling too."""
        return _rate(self.evidence.evaluated_tokens, self.ttft_ns)

    @property
    def decode_span_ns(self) -> int | None:
        """Time from the first token to the last, by the client's clock.

        A reply that ended by itself ended with a token that brings no text: its arrival is the end of the reply.
        """
        cut = self.reply.stop_reason == "length"
        return _span(self.stamps.first_delta_ns, self.stamps.last_delta_ns if cut else self.stamps.done_ns)

    @property
    def decode_tokens_per_s(self) -> float | None:
        """(n - 1) tokens over `decode_span_ns`."""
        n = self.evidence.generated_tokens
        return _rate(n - 1, self.decode_span_ns) if n is not None and n > 1 else None

    @property
    def engine_decode_tokens_per_s(self) -> float | None:
        """(n - 1) tokens over the engine's own decode time, which starts at the first token."""
        n = self.evidence.generated_tokens
        return _rate(n - 1, self.evidence.decode_ns) if n is not None and n > 1 else None

    @property
    def decode_disagreement(self) -> float | None:
        """Client's decode rate over the engine's, minus 1; 0 is agreement."""
        if self.decode_tokens_per_s is None or self.engine_decode_tokens_per_s is None:
            return None
        return self.decode_tokens_per_s / self.engine_decode_tokens_per_s - 1


class Machine(msgspec.Struct, frozen=True):
    """The machine a run was made on; memory in bytes."""

    system: str
    cpu: str | None
    cores_logical: int | None
    cores_physical: int | None
    memory_bytes: int | None
    gpus: tuple[str, ...] = ()


class RunInfo(msgspec.Struct, frozen=True):
    """What a run was: everything that must be equal for two runs to be compared; what the engine loaded, what its
    server really reports, and how the time of a prompt was calibrated where it does not report what it reused.
    """

    run_id: str
    command: str
    started_unix_ns: int
    target: str
    facts: Facts
    machine: Machine
    versions: dict[str, str]
    settings: dict[str, Any]
    load: LoadSizes | None = None
    probe: Probe | None = None
    calibration: CalibrationRecord | None = None
    schema: int = SCHEMA


class GuardSample(msgspec.Struct, frozen=True):
    """What the watcher saw over one interval; rates are over the interval, unknown is `None`.

    `foreign_cpu` is the CPU time of processes that are neither ours nor the engine's, as a share of all cores;
    `lateness_ns` how late the watcher's own thread woke.
    """

    at_ns: int
    interval_ns: int
    foreign_cpu: float | None
    steal: float | None
    swap_in_bytes: int | None
    major_faults: int | None
    lateness_ns: int


class AnchorSample(msgspec.Struct, frozen=True):
    """One measurement of the fixed anchor request: the same length, always cold, compared over the run for drift."""

    at_ns: int
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None


class RunClosed(msgspec.Struct, frozen=True):
    """How a run ended: `complete`, `interrupted` (Ctrl-C), or `failed` with the error. A killed run has no such
    line.
    """

    ended_unix_ns: int
    status: Literal["complete", "interrupted", "failed"]
    error: Failure | None = None
    schema: int = SCHEMA


def _both(prompt_side: int | None, engine_side: int | None, unsplit: int | None) -> int | None:
    return unsplit if prompt_side is None or engine_side is None else prompt_side + engine_side


def _span(start_ns: int | None, end_ns: int | None) -> int | None:
    return None if start_ns is None or end_ns is None else end_ns - start_ns


def _rate(tokens: int | None, duration_ns: int | None) -> float | None:
    if tokens is None or not duration_ns or tokens <= 0:
        return None
    return tokens / (duration_ns / 1e9)
