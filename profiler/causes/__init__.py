"""Why a request lost cached tokens: a closed list of causes, each named by a small pure rule.

`causes_of` is the whole of it: a case in, its causes out. A side that lost tokens always has at least one cause; what
no rule explains is named so (`P0`, `E0`).
"""

from __future__ import annotations

from profiler.causes.base import Case, Cause, Change, Proof
from profiler.causes.engine_rules import engine_causes
from profiler.causes.prompt_rules import prompt_causes

__all__ = ["causes_of"]


def causes_of(case: Case) -> tuple[Cause, ...]:
    """The causes of both sides' losses, the prompt's first, in the order of the catalogue on each side."""
    verdict = case.step.record.verdict
    found: tuple[Cause, ...] = ()
    if verdict.lost_prompt_side_tokens:
        found += prompt_causes(case) or (_unexplained_text(case),)
    if verdict.lost_engine_side_tokens:
        found += engine_causes(case) or (_unexplained_engine(case),)
    return found


def _unexplained_text(case: Case) -> Cause:
    if not case.changes:
        return Cause("P0", "unknown", "The prompt no longer extends the one before; what changed is not shown.", ())
    first = case.changes[0]
    return Cause(
        "P0",
        "unknown",
        f"The text changed at {first.place.path}, in a way that no rule explains.",
        (difference_proof(first),),
        token=first.token,
        shrunk_tokens=first.shrunk_tokens,
    )


def _unexplained_engine(case: Case) -> Cause:
    verdict = case.step.record.verdict
    text = f"The engine held {verdict.lcp_tokens} tokens of this prompt and reused {verdict.cached_tokens} of them."
    return Cause("E0", "unknown", text, (Proof("count", text), *log_proofs(case)))


def difference_proof(change: Change) -> Proof:
    """A change as evidence: both sides after the text that they share."""
    return Proof("difference", change.before, change.place.path, change.old, change.new)


def log_proofs(case: Case) -> tuple[Proof, ...]:
    """What the engine logged for the request."""
    return tuple(Proof("log", line) for line in case.step.record.evidence.log)
