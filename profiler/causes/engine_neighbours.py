"""Causes that lie in who else used the cache meanwhile. Pure.

`taken` and `other_slot` read what `engine_places` followed; each accounts for the tokens that it knows of.
"""

from __future__ import annotations

from profiler.causes.base import Case, Cause, Proof
from profiler.causes.engine_evidence import (
    OFF,
    cause_of,
    log_proof,
    name_of,
    order_proof,
    other_proofs,
    own,
    parameters,
    prompt_tokens,
    setting,
    slot_proofs,
)
from profiler.causes.engine_log import choice, cleared_slots, saved_lengths
from profiler.causes.engine_places import SLACK_TOKENS, Drop, Trail, keeps_by_content, one_place
from profiler.records import Confidence
from profiler.verdict import floor_tokens

__all__ = ["by_dyno", "other_slot", "parallel", "pinned_slot_cleared", "taken"]


def pinned_slot_cleared(case: Case) -> Cause | None:
    """E3: the pinned slot was cleared while it was idle."""
    pinned = parameters(case.step).get("id_slot")
    if not isinstance(pinned, int) or pinned < 0 or not _nearly_all_lost(case) or not case.between:
        return None
    if any(step.record.evidence.slot == pinned for step in case.between):
        return None
    line = next((lines[pinned] for step in case.between if pinned in (lines := cleared_slots(step))), None)
    if line is None and not _may_clear(case):
        return None
    text = (
        f"The request is pinned to slot {pinned}. With one KV cache for all slots, this server saves and clears idle "
        f"slots whenever another one starts ({name_of(case.between[-1])}), and does not search what it saved for a "
        "pinned request."
    )
    proof = Proof("request", f"id_slot: {pinned}", "parameters.id_slot")
    proofs = (proof, log_proof(line)) if line else (proof,)
    return cause_of("E3", "observed" if line else "inferred", text, *proofs, *other_proofs(case))


def _may_clear(case: Case) -> bool:
    """Whether idle slots may be cleared where no log line tells: unless the launch settings exclude it."""
    # A number of slots that is given switches the automatic mode off, and with it the common KV cache.
    separate = setting(case, "kv_unified") in OFF or (setting(case, "slots") and not setting(case, "kv_unified"))
    return not (separate or setting(case, "cache_idle_slots") in OFF or setting(case, "cache_ram") == "0")


def parallel(case: Case) -> Cause | None:
    """E4: another request, or the conversation's own last one, still ran when this one came."""
    if keeps_by_content(case):
        return None
    mine, best = case.step.record, case.best
    for other in (*case.between, *filter(None, [best])):
        done = other.record.stamps.done_ns or other.record.stamps.last_delta_ns
        if done is None or done <= mine.stamps.sent_ns:
            continue
        slots = {record.evidence.slot for record in (mine, other.record, best.record if best else mine)}
        if None not in slots and not one_place(case):
            # It kept the slot of the best match busy, so that this one went elsewhere; or it is not to blame.
            busy = best is not None and best.record.evidence.slot == other.record.evidence.slot
            if not busy or mine.evidence.slot == other.record.evidence.slot:
                continue
            text = f"{name_of(other)} still ran in slot {other.record.evidence.slot}, which holds the shared prefix."
            return cause_of("E4", "observed", text, order_proof(other), *slot_proofs(case.step))
        text = f"{name_of(other)} ran at the same time, so that the two took the cache from each other."
        return cause_of("E4", "inferred", text, order_proof(other))
    return None


def taken(case: Case, trail: Trail) -> tuple[Cause, ...]:
    """E2, E1 and E20: requests that ran in the place of this conversation's state, and dropped what they do not share.

    Several of one kind are one cause, which names the last of them.
    """
    cached = case.step.record.verdict.cached_tokens or 0
    confidence: Confidence = "observed" if trail.followed and cached <= trail.left + SLACK_TOKENS else "inferred"
    by_code: dict[str, list[Drop]] = {}
    for drop in trail.drops:
        by_code.setdefault(_code(case, drop), []).append(drop)
    return tuple(_taken(case, code, drops, confidence) for code, drops in by_code.items())


def _code(case: Case, drop: Drop) -> str:
    if own(drop.step, case.step):
        return "E20"
    return "E2" if drop.shares > floor_tokens(prompt_tokens(case)) else "E1"


def _taken(case: Case, code: str, drops: list[Drop], confidence: Confidence) -> Cause:
    last, tokens = drops[-1], sum(drop.tokens for drop in drops)
    others = f" ({len(drops) - 1} more did so before)" if len(drops) > 1 else ""
    who, slot = name_of(last.step), last.step.record.evidence.slot
    where = "this conversation's place in the cache" if slot is None else f"slot {slot}, which held this conversation"
    where = "the engine's only slot, which held this conversation" if one_place(case) else where
    shares = f"{last.shares} token{'' if last.shares == 1 else 's'}"
    count = Proof("count", f"{who} shares {shares} with this prompt, of {last.end} that could be reused")
    proofs = (order_proof(last.step), count, *slot_proofs(last.step), *slot_proofs(case.step))
    if code == "E20":
        text = (
            f"An earlier prompt, {name_of(case.best or case.step)}, shared {last.end} tokens with this one. The "
            f"conversation's own later one, {who}, which shares {last.shares}, has replaced it{others}. What changes "
            "the text and back causes this."
        )
        return cause_of(code, confidence, text, *proofs, tokens=tokens)
    if last.stored and choice(last.step).restored is not None:
        text = (
            f"{who}, which opens with the same {shares}, was given this conversation's state out of the server's "
            f"store; everything behind those tokens was dropped{others}."
        )
    elif last.stored:
        text = (
            f"{who} opens with the same {shares}. The conversation's own state had been moved to the "
            f"server's store; this request was put on the state of {who} instead{others}, "
            "and the store was not searched for more."
        )
    elif code == "E2":
        text = (
            f"{who}, which opens with the same {shares}, was put on {where}; everything behind those tokens was "
            f"dropped{others}."
        )
    else:
        text = f"{who}, which shares {shares} with it, was put on {where}; everything else was dropped{others}."
    return cause_of(code, confidence, text + _unsearched(case, last), *proofs, tokens=tokens)


def _unsearched(case: Case, drop: Drop) -> str:
    """That a copy lay in the store: saved when the other request came, and not looked for when this one did."""
    best, chosen = case.best, choice(case.step)
    if drop.stored or best is None or best.rendered is None or chosen.how != "similar" or chosen.searched:
        return ""
    length = len(best.rendered.sequence)
    if not any(abs(saved - length) <= SLACK_TOKENS for saved in saved_lengths(drop.step)):
        return ""
    return (
        " The server had saved the dropped state, and did not look for it: it searches its store only where a slot "
        "keeps less than half of what it holds, or is the oldest one."
    )


def other_slot(case: Case, trail: Trail) -> Cause | None:
    """E19: the prefix lay in another slot, or in the store, and was not taken from there.

    Not where it lay in this request's own slot: what kept the engine from using it there is another matter.
    """
    cached, best = case.step.record.verdict.cached_tokens, case.best
    if cached is None or best is None or trail.where == "here" or trail.left - cached <= SLACK_TOKENS:
        return None
    chosen, mine = choice(case.step), case.step.record.evidence.slot
    held = ((slot, shared, line) for slot, (shared, line) in chosen.lying.items() if slot != mine)
    slot, shared, line = max(held, key=lambda found: found[1], default=(None, 0, ""))
    if slot is not None and shared >= trail.left - SLACK_TOKENS:
        text = f"{trail.left} tokens of this prompt lay in slot {slot}; {_put(case, mine)}, and slots share nothing."
        proofs = (order_proof(best), log_proof(line), *slot_proofs(case.step))
        return cause_of("E19", "observed", text, *proofs, tokens=trail.left - cached)
    refused = next((one for one in chosen.stored if one.shared_tokens >= trail.left - SLACK_TOKENS), None)
    if refused is not None and chosen.restored is None:
        text = (
            f"{trail.left} tokens of this prompt lay in the server's store, as the beginning of a prompt of "
            f"{refused.length_tokens} tokens; the server takes back no prompt of which it would keep less than a "
            "quarter, or which is not better in every respect than what the slot holds."
        ) + _after_anchor(case)
        return cause_of("E19", "observed", text, log_proof(refused.line), tokens=trail.left - cached)
    if trail.where != "elsewhere" or (chosen.lying and chosen.how != "pinned"):
        return None
    slot = best.record.evidence.slot
    text = f"The shared prefix lay in slot {slot}; {_put(case, mine)}, and slots share nothing."
    return cause_of("E19", "observed", text, order_proof(best), *slot_proofs(case.step), tokens=trail.left - cached)


def _put(case: Case, slot: int | None) -> str:
    how = "is pinned to" if choice(case.step).how == "pinned" else "was put on"
    return f"the request {how} slot {slot}"


def _after_anchor(case: Case) -> str:
    if not case.own_requests or case.between:
        return ""
    return " A request of dyno's own (the anchor) came between; without that, a slot might still have held it."


def by_dyno(case: Case) -> Cause | None:
    """E1: dyno's own anchor request ran between two sessions."""
    if not case.own_requests or keeps_by_content(case) or not _nearly_all_lost(case):
        return None
    since = f"Since {name_of(case.best)}" if case.best is not None else "Before this request"
    text = (
        f"{since} dyno sent a request of its own (the anchor, which shows whether the machine drifts), and that took "
        "the place in the cache. Without dyno this loss does not occur."
    )
    return cause_of("E1", "inferred", text, Proof("order", f"{case.own_requests} anchor requests between"))


def _nearly_all_lost(case: Case) -> bool:
    cached = case.step.record.verdict.cached_tokens
    return cached is not None and cached <= floor_tokens(prompt_tokens(case))
