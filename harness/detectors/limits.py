"""Limits, the context, and faults of the engine: what ended or cut a dispatch. From state alone."""

from __future__ import annotations

from itertools import pairwise

from harness.detectors.base import Case
from harness.detectors.transcript import event_turns, first_line, parser_fault, shown_call
from profiler.dispatch_records import Detection, ExitStatus, TurnRecord
from profiler.proxy.exchange import CLIENT_LEFT
from profiler.records import RequestRecord

__all__ = [
    "context_overflow",
    "infra_fault",
    "limit_tokens",
    "limit_turns",
    "reasoning_runaway",
    "silent_truncation",
    "timeout_tool",
    "timeout_wall",
]

RUNAWAY_SHARE = 0.9
"""Share of a reply's tokens from which thoughts alone are a runaway."""
CONTEXT_SHARE = 0.98
"""A reply that was cut with this share of the context used was cut by the context."""
MISSING_SHARE = 0.02
"""Share of the sent tokens that the engine may count otherwise than the renderer does."""
SHRUNK_SHARE = 0.1
"""Share of the prompt before by which one must be shorter to be taken for a truncated one."""


def infra_fault(case: Case) -> tuple[Detection, ...]:
    """A request that failed for no fault of the model's, or a verifier that failed."""
    own = ("ContextOverflow", CLIENT_LEFT)
    failed = [turn for turn in case.turns if turn.error and turn.error.kind not in own]
    failed = [turn for turn in failed if not parser_fault(turn)]
    error = failed[0].error if failed else case.error
    found: list[Detection] = []
    if failed or case.exit_status == "infra_fault":
        words = f"{error.kind}: {first_line(error.message, 160)}" if error else "the dispatch ended by a fault"
        turn = failed[0].turn if failed else _last_turn(case)
        found.append(Detection("infra_fault", True, words, turn, max(1, len(failed))))
    if not case.outcome.valid:
        notes = f": {first_line(case.outcome.notes[-1])}" if case.outcome.notes else ""
        found.append(Detection("infra_fault", True, f"the verifier itself failed{notes}"))
    return tuple(found)


def timeout_wall(case: Case) -> tuple[Detection, ...]:
    """The limit of wall time."""
    longest_s = min(case.setting.limits.wall_s, case.task.agent_timeout_s)
    return _ended_by(case, "limit_wall", "timeout_wall", f"{case.wall_ns / 1e9:.0f} s, of {longest_s:g} allowed")


def limit_turns(case: Case) -> tuple[Detection, ...]:
    """The limit of turns."""
    return _ended_by(case, "limit_turns", "limit_turns", f"{len(case.turns)} of {case.setting.limits.turns} turns")


def limit_tokens(case: Case) -> tuple[Detection, ...]:
    """The limit of generated tokens."""
    allowed = case.setting.limits.tokens
    return _ended_by(case, "limit_tokens", "limit_tokens", f"{allowed} generated tokens were allowed")


def timeout_tool(case: Case) -> tuple[Detection, ...]:
    """Calls that were ended at their time limit."""
    late = [(turn, call) for turn, call in case.calls if call.timed_out]
    if not late:
        return ()
    turn, call = late[0]
    return (Detection("timeout_tool", True, f"{shown_call(call)} ran out of time", turn, len(late)),)


def context_overflow(case: Case) -> tuple[Detection, ...]:
    """A prompt that was refused as too long, or a reply that ended where the context did."""
    refused = [turn for turn in case.turns if turn.error and turn.error.kind == "ContextOverflow"]
    if refused or case.exit_status == "context_overflow":
        error = refused[0].error if refused else case.error
        words = first_line(error.message, 160) if error else "the prompt does not fit the context"
        place = refused[0].turn if refused else _last_turn(case)
        return (Detection("context_overflow", True, words, place, max(1, len(refused))),)
    cut = [(turn, used) for turn in case.turns if (used := _cut_by_context(case, turn)) is not None]
    if not cut:
        return ()
    turn, used = cut[0]
    words = f"the reply was cut with {used} of {case.context_tokens} tokens of context used"
    return (Detection("context_overflow", True, words, turn.turn, len(cut)),)


def silent_truncation(case: Case) -> tuple[Detection, ...]:
    """Prompts of which the engine left out a part, and answered as if nothing had happened."""
    turns = {turn.request_id: turn.turn for turn in case.turns if turn.request_id is not None}
    certain = [(record, words) for record in case.requests if (words := _left_out(case, record))]
    if certain:
        record, words = certain[0]
        return (Detection("silent_truncation", True, words, turns.get(record.request_id), len(certain)),)
    shrunk = _shrunk(case)
    if not shrunk:
        return ()
    turn, before, after = shrunk[0]
    words = f"the prompt fell from {before} to {after} tokens, and nothing was pruned"
    return (Detection("silent_truncation", False, words, turn, len(shrunk)),)


def reasoning_runaway(case: Case) -> tuple[Detection, ...]:
    """Replies that were cut while the model was still thinking."""
    requests = case.requests_by_id
    allowed = case.setting.limits.reply_tokens
    found: list[tuple[TurnRecord, int]] = []
    for turn in case.turns:
        record = requests.get(turn.request_id) if turn.request_id is not None else None
        generated = record.evidence.generated_tokens if record else None
        only_thoughts = turn.reasoning.strip() and not turn.content.strip() and not turn.calls
        if turn.stop_reason == "length" and only_thoughts and generated and generated >= RUNAWAY_SHARE * allowed:
            found.append((turn, generated))
    if not found:
        return ()
    turn, generated = found[0]
    words = f"{generated} of {allowed} tokens of the reply, all of them thoughts"
    return (Detection("reasoning_runaway", True, words, turn.turn, len(found)),)


def _ended_by(case: Case, status: ExitStatus, code: str, evidence: str) -> tuple[Detection, ...]:
    return (Detection(code, True, evidence, _last_turn(case)),) if case.exit_status == status else ()


def _last_turn(case: Case) -> int | None:
    return case.turns[-1].turn if case.turns else None


def _cut_by_context(case: Case, turn: TurnRecord) -> int | None:
    """Tokens in use when a reply was cut, if that was nearly the whole context."""
    record = case.requests_by_id.get(turn.request_id) if turn.request_id is not None else None
    if turn.stop_reason != "length" or record is None or case.context_tokens is None:
        return None
    prompt, generated = record.evidence.prompt_tokens, record.evidence.generated_tokens
    if prompt is None or generated is None or generated >= case.setting.limits.reply_tokens:
        return None
    used = prompt + generated
    return used if used >= CONTEXT_SHARE * case.context_tokens else None


def _left_out(case: Case, record: RequestRecord) -> str:
    evidence = record.evidence
    if evidence.truncated:
        return f"the engine marks the prompt as truncated ({evidence.sources.get('truncated', 'its own field')})"
    sent = case.rendered_tokens.get(record.request_id)
    if evidence.conflict or evidence.evaluated_tokens is None or evidence.cached_tokens is None or not sent:
        return ""
    had = evidence.evaluated_tokens + evidence.cached_tokens
    if sent - had <= MISSING_SHARE * sent:
        return ""
    return f"{sent} tokens were sent, and the engine had {had} (evaluated and cached)"


def _shrunk(case: Case) -> list[tuple[int, int, int]]:
    """Turns whose prompt is much shorter than the one before, with both lengths; none where history may shrink."""
    if case.started.actor == "external" or case.setting.thinking.history == "stripped":
        return []
    requests = case.requests_by_id
    compacted = set(event_turns(case, "compacted"))
    lengths: list[tuple[int, int]] = []
    for turn in case.turns:
        record = requests.get(turn.request_id) if turn.request_id is not None else None
        tokens = record.evidence.prompt_tokens if record else None
        if tokens is not None:
            lengths.append((turn.turn, tokens))
    return [
        (turn, before, after)
        for (_, before), (turn, after) in pairwise(lengths)
        if after < (1 - SHRUNK_SHARE) * before and turn not in compacted
    ]
