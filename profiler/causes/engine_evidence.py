"""What the rules of the engine's side ask of a case, and how they answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from backends.base import JsonObject
from profiler.causes.base import Case, Cause, Proof, Step
from profiler.ledger import common_prefix_tokens
from profiler.records import Confidence

__all__ = [
    "OFF",
    "cause_of",
    "log_proof",
    "logged",
    "logged_since",
    "name_of",
    "order_proof",
    "other_proofs",
    "own",
    "parameters",
    "prompt_tokens",
    "setting",
    "shared_tokens",
    "slot_proofs",
]

OFF = frozenset({"false", "off", "no", "0"})
"""How a launch setting says no."""


def cause_of(code: str, confidence: Confidence, text: str, *proofs: Proof, tokens: int | None = None) -> Cause:
    """A cause with its proofs, and the tokens that it accounts for where they are known."""
    return Cause(code, confidence, text, proofs, tokens=tokens)


def parameters(step: Step) -> JsonObject:
    """The further keys of the request body."""
    return step.request.get("parameters") or {}


def setting(case: Case, name: str) -> str:
    """A launch setting of the engine in lower case; empty where it was not given."""
    return case.facts.settings.get(name, "").lower()


def prompt_tokens(case: Case) -> int:
    """Length of the prompt, 0 where it is not known."""
    return case.step.record.verdict.prompt_tokens or 0


def shared_tokens(other: Step, step: Step) -> int:
    """How many tokens of a prompt another request's sequence begins with; 0 where one is not shown."""
    if other.rendered is None or step.rendered is None:
        return 0
    return common_prefix_tokens(other.rendered.sequence.tobytes(), step.rendered.token_ids.tobytes())


def own(other: Step, step: Step) -> bool:
    """Whether both requests belong to the same conversation."""
    a, b = other.record, step.record
    return (a.session, a.conversation, a.repeat) == (b.session, b.conversation, b.repeat)


def name_of(step: Step) -> str:
    """A request as a reader finds it: `sub-agent/sub-1 (request 9)`."""
    record = step.record
    return f"{record.session}/{record.conversation} (request {record.request_id})"


def logged(step: Step, *marks: str) -> str | None:
    """The first line of the request's log that holds one of the marks."""
    return next((line for line in step.record.evidence.log if any(mark in line for mark in marks)), None)


def logged_since(case: Case, *marks: str) -> str | None:
    """A line of this request's log, or of one since the best match."""
    steps: Iterable[Step] = (case.step, *reversed(case.between))
    return next((line for step in steps if (line := logged(step, *marks)) is not None), None)


def order_proof(other: Step) -> Proof:
    """That this request came between."""
    slot = other.record.evidence.slot
    return Proof("order", name_of(other) + ("" if slot is None else f", on slot {slot}"))


def other_proofs(case: Case) -> tuple[Proof, ...]:
    """The last requests since the best match."""
    return tuple(order_proof(step) for step in case.between[-3:])


def log_proof(line: str) -> Proof:
    """A line of the log."""
    return Proof("log", line)


def slot_proofs(step: Step) -> tuple[Proof, ...]:
    """How the engine says it chose the slot."""
    return tuple(log_proof(line) for line in step.record.evidence.log if "selected slot" in line)
