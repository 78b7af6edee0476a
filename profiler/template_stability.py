"""Whether a chat template keeps the prefix of a growing history: what breaks it, where, and what that costs.

Pure: it is given what an engine rendered before and after each reply, and what the model said in between. It renders
nothing (`harness.templates.probe`). A prompt is stable if it extends the one before it and then holds what the model
generated, character by character: only then does a prefix cache keep both.

Counts of tokens up to a break in the earlier prompt are the engine's own; tokens of a reply are estimated from its
characters at the ratio of the same prompt, and marked so.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec

from backends.base import Prompt
from profiler.ledger import common_prefix_tokens
from profiler.template_replies import NOT_RENDERED, Spoken, place_of, reply_break, shared_chars
from profiler.verdict import END_OF_TURN_TOKENS

__all__ = [
    "AROUND_CHARS",
    "Finding",
    "Scope",
    "Step",
    "When",
    "clock_finding",
    "cost_tokens",
    "judge_step",
    "opens_reasoning",
    "shows_anywhere",
]

AROUND_CHARS = 80
Scope = Literal["reply", "since_user", "everything"]
"""What is evaluated again: the last reply; all since the user message before it; the whole history."""
When = Literal["such_reply", "every_turn", "new_order", "new_day"]
"""How often: with each such reply, with every turn, with each new user message, or when the date changes."""

_DATES = ("%Y-%m-%d", "%d %b %Y", "%d %B %Y", "%B %d, %Y", "%b %d, %Y", "%d/%m/%Y", "%m/%d/%Y", "%A, %B %d")
OPENS_REASONING = ("<think", "<thinking", "reasoning", "analysis", "<|thought")


class Step(msgspec.Struct, frozen=True):
    """The prompt before a reply and the one after it.

    `spoken` is the reply in the order in which a model says it. `marks` hold, for each message of the prompt before, a
    text that only it holds (empty: it shows no text); `last_user` is the index of the last user message among them,
    `tools_mark` a text of the tool definitions, `thoughts` the reasoning of the replies so far. `asks` says that a new
    user message came after the reply.
    """

    before: Prompt
    after: Prompt
    spoken: tuple[Spoken, ...]
    marks: tuple[str, ...]
    last_user: int
    tools_mark: str = ""
    thoughts: tuple[str, ...] = ()
    asks: bool = False


class Finding(msgspec.Struct, frozen=True):
    """One way in which a step loses tokens. `was` is what the cache holds at the break, `now` what the prompt has.

    `kept_tokens` are reused, `lost_tokens` evaluated again; `estimated`: from characters. `head_tokens` are those
    before the first user message.
    """

    cause: str
    scope: Scope
    when: When
    kept_tokens: int
    lost_tokens: int
    estimated: bool
    head_tokens: int
    was: str
    now: str


def judge_step(step: Step) -> tuple[Finding, ...]:
    """What one step loses; at most one finding for the history and, if that is kept, one for the reply.

    A history that differs only in the last few tokens, up to those that end a turn, is kept.
    """
    before, after = step.before, step.after
    kept = common_prefix_tokens(before.token_ids.tobytes(), after.token_ids.tobytes())
    if after.text.startswith(before.text):
        if len(before.token_ids) - kept <= END_OF_TURN_TOKENS:
            return tuple(_reply_findings(step, kept))
        at = len(before.text)
        return (_finding(step, "the same text has other tokens", at, kept, len(before.token_ids) - kept, False),)
    at = shared_chars(before.text, after.text)
    said = sum(len(spoken.text) for spoken in step.spoken)
    lost = len(before.token_ids) - kept + _tokens_of(step.after, said)
    if lost <= END_OF_TURN_TOKENS:
        return ()
    return (_finding(step, _history_cause(step, at), at, kept, lost, said > 0),)


def shows_anywhere(text: str, steps: tuple[Step, ...]) -> bool:
    """Whether any prompt after a reply shows a text: a template that never does has no place for it."""
    return any(text in step.after.text for step in steps)


def opens_reasoning(prompt: Prompt, last_mark: str) -> bool:
    """Whether a prompt ends by opening the model's reasoning, so that every reply has some.

    `last_mark` is a text of the last message: only what the template puts behind it counts.
    """
    tail = prompt.text.rpartition(last_mark)[2].rstrip().lower()[-40:]
    return not tail.endswith("</think>") and any(word in tail for word in OPENS_REASONING)


def cost_tokens(finding: Finding, history_tokens: int) -> int:
    """Tokens evaluated again at each such turn once the history has grown to `history_tokens`.

    A lost reply does not grow with the history. A break after the last user message costs up to all but the head: that
    much if the agent worked on one order all along, which is the case to plan for.
    """
    if finding.scope == "reply":
        return min(finding.lost_tokens, history_tokens)
    kept = finding.kept_tokens if finding.scope == "everything" else max(finding.head_tokens, finding.kept_tokens)
    return max(0, history_tokens - kept)


def clock_finding(prompt: Prompt, now: datetime) -> Finding | None:
    """Today's date in a prompt of whose messages none names it; `None` if it is not there."""
    for form in _DATES:
        at = prompt.text.find(now.strftime(form))
        if at >= 0:
            kept = _tokens_of(prompt, at)
            around = _around(prompt.text, at)
            cause = f"the template writes today's date ({form})"
            lost = len(prompt.token_ids) - kept
            return Finding(cause, "everything", "new_day", kept, lost, True, kept, around, around)
    return None


def _reply_findings(step: Step, kept: int) -> Iterator[Finding]:
    """The first thing that the model said and the prompt now has otherwise; all after it is lost with it."""
    begins = len(step.before.text)
    span = step.after.text[begins:]
    place = 0
    for number, spoken in enumerate(step.spoken):
        found = place_of(spoken, span, place)
        if found is not None:
            place = found
            continue
        broken = reply_break(spoken, span, place)
        at, rest = broken.at, broken.rest
        lost_chars = len(rest) + sum(len(later.text) for later in step.spoken[number + 1 :])
        cached = step.before.text + span[:at] + rest
        yield Finding(
            cause=broken.cause,
            scope="reply",
            when="such_reply",
            kept_tokens=kept + _tokens_of(step.after, at),
            lost_tokens=max(1, _tokens_of(step.after, lost_chars)),
            estimated=True,
            head_tokens=_head_tokens(step),
            was=_around(cached, begins + at),
            now=_around(step.after.text, begins + at),
        )
        return


def _history_cause(step: Step, at: int) -> str:
    """What an earlier prompt has at the break that the later one has not."""
    before, after = step.before.text, step.after.text
    places = _mark_places(step)
    when = " when a new user message comes" if step.asks else ""
    tools = before.rfind(step.tools_mark) if step.tools_mark else -1
    if tools >= at and not any(at <= place < tools for place in places):
        moved = step.tools_mark in after
        return f"the tool definitions {'stand behind the history and move' if moved else 'go'}{when}"
    if any(thought in before[max(0, at - len(thought)) :] and thought not in after for thought in step.thoughts):
        return f"the reasoning of earlier replies is dropped{when}"
    gone = [number for number, mark in enumerate(step.marks) if mark and mark in before and mark not in after]
    if gone:
        what = "the system prompt" if gone[0] == 0 else "a part of the history"
        return f"{what} is dropped or moves{when}"
    if at >= places[-1] + len(step.marks[-1]):
        if any(spoken.kind == "reasoning" and spoken.text not in after for spoken in step.spoken):
            return NOT_RENDERED
        return "the prompt for a reply is not what stands before that reply in the history"
    order = [after.find(mark) for mark in step.marks if mark]
    if order != sorted(order):
        return f"messages of the history change places{when}"
    return f"the history is rendered otherwise{when}"


def _finding(step: Step, cause: str, at: int, kept: int, lost: int, estimated: bool) -> Finding:
    return Finding(
        cause=cause,
        scope=_scope(step, at),
        when="new_order" if step.asks else "every_turn",
        kept_tokens=kept,
        lost_tokens=lost,
        estimated=estimated,
        head_tokens=_head_tokens(step),
        was=_around(step.before.text, at),
        now=_around(step.after.text, at),
    )


def _scope(step: Step, at: int) -> Scope:
    """By the messages whose text starts before the break.

    A message's head stands before its text: a break there is between the text of the one before and its own.
    """
    started = sum(1 for place in _mark_places(step) if place < at)
    if started >= len(step.marks):
        return "reply"
    return "since_user" if started > step.last_user or started == step.last_user > 1 else "everything"


def _mark_places(step: Step) -> list[int]:
    """Where each message's text starts in the earlier prompt; one that shows none starts where the one before does."""
    places: list[int] = []
    for mark in step.marks:
        at = step.before.text.find(mark, places[-1] if places else 0) if mark else -1
        places.append(at if at >= 0 else places[-1] if places else 0)
    return places


def _head_tokens(step: Step) -> int:
    """Tokens before the second message, by characters: the first one is the system's, the next one the user's."""
    places = _mark_places(step)
    return _tokens_of(step.before, places[min(1, len(places) - 1)])


def _tokens_of(prompt: Prompt, chars: int) -> int:
    return round(chars * len(prompt.token_ids) / max(1, len(prompt.text)))


def _around(text: str, at: int) -> str:
    return text[max(0, at - AROUND_CHARS) : at + AROUND_CHARS]
