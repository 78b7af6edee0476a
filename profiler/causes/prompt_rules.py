"""Rules for the prompt's side: what kind of change this is. Pure; one change has at most one cause.

A rule sees a `Change` and answers with the words that name its cause, or `None`. They are tried in the order of
`RULES`, so that the more telling one speaks first. A rule whose words or structure alone prove the cause answers with a
text, which counts as observed; one that only knows what such a change mostly means answers with a `Guess`.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from profiler.causes.base import Case, Cause, Change, Proof
from profiler.causes.json_text import list_of, objects_of
from profiler.causes.moved_text import moved_on
from profiler.causes.reply_rules import arguments_rewritten, reasoning_stripped, retokenised, same_but_for_spaces
from profiler.causes.rule import Guess, Rule, is_block
from profiler.causes.same_values import objects_in, tool_name, tool_names_in
from profiler.causes.segments import head_roles, pieces
from profiler.causes.volatile import changed_lines, same_but_for
from profiler.records import Confidence

__all__ = ["prompt_causes"]

_BILLING = re.compile(r"x-anthropic-billing-header|\bcch=[0-9a-f]", re.IGNORECASE)
_GIT = re.compile(
    r"\bgit ?status\b|\b(?:current|main|default|active) branch\b|\bbranch: ?\S|\bon branch \S|\brecent commits\b|"
    r"^\s*(?: M|M |A |D | D|R |\?\?|UU|AM|MM) \S|^##? [\w./-]+\.\.\.|^\s*(?=\d*[a-f])[0-9a-f]{7,40} \S|"
    r"\byour branch (?:is|and) |^\s*\(clean\)$|\bworking tree clean\b|\bnothing to commit\b|"
    r"\b\d+ (?:files? changed|commits? (?:ahead|behind))",
    re.IGNORECASE | re.MULTILINE,
)
_REMINDER_TAG = re.compile(r"</?system[-_]reminder>|</?total_tokens>|</?context_window>", re.IGNORECASE)
_REMINDER = re.compile(
    r"system[-_]reminder|tokens? (?:left|remaining|used)|context (?:left|remaining|usage)|token (?:budget|usage)|"
    r"\d+ ?/ ?\d+ tokens|turns? (?:left|remaining)",
    re.IGNORECASE,
)
_IMAGE = re.compile(r'"type":"(?:image_url|image|input_image)"|data:image/|"image_url"')
_ASSISTANT: Final = ("assistant_reasoning", "assistant_content", "assistant_tool_call")


def prompt_causes(case: Case) -> tuple[Cause, ...]:
    """The causes of the prompt-side loss, in the order in which they begin in the prompt.

    The same cause at several places is one, from its first place on. Changes that no rule explains become `P0` only
    where nothing before them explains the loss from there on. What a later change took out of the prompt counts with
    the cause that has that part of it.
    """
    found: dict[str, Cause] = {}
    for change in case.changes:
        code, said = _named(case, change)
        if code in found or (code == "P0" and found):
            last = next(reversed(found))
            shrunk = found[last].shrunk_tokens + change.shrunk_tokens
            found[last] = msgspec.structs.replace(found[last], shrunk_tokens=shrunk)
            continue
        proof = Proof("difference", change.before, change.place.path, change.old, change.new)
        text = said.text if isinstance(said, Guess) else said
        confidence: Confidence = "inferred" if isinstance(said, Guess) else "unknown" if code == "P0" else "observed"
        found[code] = Cause(code, confidence, text, (proof,), token=change.token, shrunk_tokens=change.shrunk_tokens)
    return tuple(found.values())


def _named(case: Case, change: Change) -> tuple[str, str | Guess]:
    if _replayed(case, change):
        return "P0", "The replay could not make the engine write the recorded reply, so the history holds another one."
    for code, rule in RULES:
        said = rule(case, change)
        if said is not None:
            return code, said
    return "P0", f"The text changed at {change.place.path}, in a way that no rule explains."


def _replayed(case: Case, change: Change) -> bool:
    """Whether this is about a reply that a replay let the engine make up: the recorded one follows it by design."""
    record = case.previous.record if case.previous is not None else None
    if record is None or record.fidelity != "rehearse" or record.forcing == "token_ids":
        return False
    return case.previous is not None and change.place.message == len(objects_of(case.previous.request.get("messages")))


def _in_head(change: Change) -> bool:
    return change.place.part in ("system", "tools") or change.place.path == "prompt"


def _bos_toggled(case: Case, change: Change) -> str | None:
    before = case.previous.rendered if case.previous is not None else None
    now = case.step.rendered
    if before is None or now is None or change.token > 1:
        return None
    a, b = before.token_ids[:16], now.token_ids[:16]
    if len(a) > 1 and len(b) > 1 and a != b and (_shifted(a, b) or _shifted(b, a)):
        return "One of the two prompts opens with a begin-of-text token more than the other."
    return None


def _shifted(longer: Any, shorter: Any) -> bool:
    return bool(longer[1:] == shorter[: len(longer) - 1])


def _hoisted(case: Case, change: Change) -> str | None:
    if change.in_request or not change.new_whole or change.kind == "retokenised":
        return None
    messages = objects_of(case.step.request.get("messages"))
    for message in messages[head_roles(messages) :]:
        if message.get("role") not in ("system", "developer"):
            continue
        if any(piece.text[:60] in change.new_whole for piece in pieces(message) if piece.shown):
            return (
                "A system message from further down the conversation is moved to the front of the prompt (by the "
                "server, the template or a proxy); everything behind it is evaluated again."
            )
    return None


def _tools_moved(case: Case, change: Change) -> str | None:
    tools = list_of(case.step.request.get("tools"))
    if change.in_request or not tools or change.kind == "retokenised":
        return None
    names = [name for name in map(tool_name, tools) if name]
    for side in (change.old_whole, change.new_whole):
        if names and all(f'"{name}"' in side for name in names):
            return (
                "The chat template writes the tools in front of the newest message of the user, so they stand at "
                "another place in each request."
            )
    return None


def _billing_header(case: Case, change: Change) -> str | None:
    if _in_head(change) and any(map(_BILLING.search, changed_lines(change.old_whole, change.new_whole))):
        return "The billing header in front of the system prompt changes with every request."
    return None


def _git_status(case: Case, change: Change) -> str | None:
    if change.place.part not in ("system", "user", "glue") or change.kind == "retokenised" or is_block(change):
        return None
    lines = changed_lines(change.old_whole, change.new_whole)
    if lines and 2 * sum(1 for line in lines if _GIT.search(line)) >= len(lines):
        return "The state of the git repository is part of the prompt, and it changed."
    return None


def _volatile_value(case: Case, change: Change) -> str | None:
    if not _in_head(change) or change.kind != "changed":
        return None
    what = same_but_for(change.old_whole, change.new_whole)
    if what is None:
        return None
    who = "The chat template writes" if not change.in_request else "The system prompt holds"
    if change.place.part == "tools":
        who = "The description of a tool holds"
    verb = "that change" if what == "values" else "that changes"
    return f"{who} {what} {verb} between requests; everything behind it is evaluated again."


def _tools_changed(case: Case, change: Change) -> str | None:
    if change.place.part != "tools" or (change.kind == "changed" and _same_schema(change)):
        return None
    if change.kind == "reordered":
        return "The same tools come in another order."
    names = ", ".join(tool_names_in(change.new_whole if change.kind == "inserted" else change.old_whole)[:3])
    if change.kind == "inserted":
        return f"Tools were added after the conversation had begun ({names}), as when a tool server starts late."
    if change.kind == "removed":
        return f"Tools were taken away after the conversation had begun ({names})."
    return f"The description or schema of a tool changed ({names})."


def _schema_key_order(case: Case, change: Change) -> str | None:
    if change.place.part == "tools" and change.kind == "changed" and _same_schema(change):
        return "The same tools come with the parts of their schemas in another order."
    return None


def _same_schema(change: Change) -> bool:
    old, new = objects_in(change.old_whole), objects_in(change.new_whole)
    return bool(old) and old == new


def _image_changed(case: Case, change: Change) -> str | None:
    if is_block(change) or not (_IMAGE.search(change.old_whole) or _IMAGE.search(change.new_whole)):
        return None
    if change.kind == "removed":
        return "An image was left out of an earlier message."
    return "An image of an earlier message was encoded again, or put in later."


def _moving_reminder(case: Case, change: Change) -> str | Guess | None:
    several = is_block(change) and ":" in change.place.path
    if change.place.part not in ("user", "tool", "system") or change.kind == "retokenised" or several:
        return None
    if moved_on(case, change):
        return "A note goes with the newest message: each request takes it away from the one before."
    lines = changed_lines(change.old_whole, change.new_whole)
    if not any(_REMINDER.search(line) for line in lines):
        return None
    text = "A reminder or countdown stands at another place, or says another number, in each request."
    tagged = any(_REMINDER_TAG.search(line) for line in lines)
    return text if tagged or same_but_for(change.old_whole, change.new_whole) else Guess(text)


def _history_rewritten(case: Case, change: Change) -> str | None:
    part = change.place.part
    if part in ("system", "tools") or change.place.path == "prompt" or not change.in_request:
        return None
    if change.kind == "retokenised" or (part == "user" and not (is_block(change) and change.kind != "inserted")):
        return None
    previous = objects_of(case.previous.request.get("messages")) if case.previous is not None else []
    if is_block(change) and change.kind == "removed":
        if change.place.message == len(previous):
            return "The last reply is not part of this request: it was asked again, or the conversation went back."
        if change.place.message == head_roles(previous):
            return "The oldest messages were dropped: only a part of the history is sent."
        return "Earlier messages were taken out of the history."
    if is_block(change):
        if change.kind == "inserted":
            return "Messages were put in between earlier ones."
        shorter = len(change.new_whole) < len(change.old_whole)
        return "Earlier messages were replaced by " + (
            "shorter ones: compacted or summed up." if shorter else "others."
        )
    if part == "tool":
        return "An earlier tool result was cleared, cut or changed."
    if part in _ASSISTANT and not same_but_for_spaces(change):
        return "An earlier reply comes back changed."
    return None


def _volatile_metadata(case: Case, change: Change) -> Guess | None:
    if change.place.part not in ("system", "user") or change.kind == "retokenised" or not change.in_request:
        return None
    if change.place.part == "system":
        return Guess("The system prompt changed: memories, notes or instructions were written into it or taken out.")
    if is_block(change):
        return Guess("A message with notes, memories or metadata was put in between earlier ones.")
    what = same_but_for(change.old_whole, change.new_whole)
    if what is not None:
        return Guess(f"An earlier message of the user holds {what} that the agent writes anew in each request.")
    old, new = change.old_whole.strip(), change.new_whole.strip()
    if change.kind == "removed" or new in old:
        return Guess("Metadata that the agent put into a message of the user was taken out again later.")
    if change.kind == "inserted" or old in new:
        return Guess("The agent put notes, memories or metadata into an earlier message of the user.")
    return Guess("An earlier message of the user was written anew.")


def _body_rewritten(case: Case, change: Change) -> Guess | None:
    if change.kind == "retokenised":
        return None
    if change.place.part in _ASSISTANT and same_but_for_spaces(change):
        return Guess("The reply comes back with other spaces or line ends than the model wrote; something trims it.")
    if change.in_request:
        return None
    return Guess("The request is the same, and yet its prompt is another: the chat template, or a proxy, rewrote it.")


RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("P13", _bos_toggled),
    ("P14", _hoisted),
    ("P14", _tools_moved),
    ("P3", _billing_header),
    ("P2", _git_status),
    ("P1", _volatile_value),
    ("P6", _tools_changed),
    ("P7", _schema_key_order),
    ("P9", reasoning_stripped),
    ("P8", arguments_rewritten),
    ("P10", retokenised),
    ("P12", _image_changed),
    ("P4", _moving_reminder),
    ("P11", _history_rewritten),
    ("P5", _volatile_metadata),
    ("P14", _body_rewritten),
)
"""In the order in which they are tried: the more telling before the more general."""
