"""What becomes of a history that grows: nothing, or older turns go, lose their results, or become a summary. Pure.

A history is the messages after the system prompt: the task, then turns. A turn is an assistant message with what
follows it, so a call and its result stay or go together and the chat remains valid.
"""

from __future__ import annotations

from collections.abc import Sequence

from backends.base import JsonObject
from harness.settings import History

__all__ = ["CLEARED", "is_due", "pruned", "recap", "summarised", "summary_request", "turns_of"]

CLEARED = "[This result was removed to save space. Make the call again if you need it.]"
_DROPPED = "\n\n[Earlier turns of this work were left out.]"
_SUMMARY = "\n\nA summary of the work so far:\n"
_ASK = (
    "Stop here and sum up the work so far for somebody who goes on with it and sees nothing else: what was asked, what "
    "was found, which files were changed and how, what is left to do. Answer with the summary alone; call no tool."
)
_RECAP_CHARACTERS = 120


def is_due(levers: History, prompt_tokens: int | None, context_tokens: int | None) -> bool:
    """Whether the policy has to act: the last prompt had more than its share of the context. Not if one is unknown."""
    if levers.policy == "keep" or prompt_tokens is None or context_tokens is None:
        return False
    return prompt_tokens > levers.at_share * context_tokens


def turns_of(history: Sequence[JsonObject]) -> tuple[list[JsonObject], list[list[JsonObject]]]:
    """What stands before the first turn, and the turns."""
    head: list[JsonObject] = []
    turns: list[list[JsonObject]] = []
    for message in history:
        if message["role"] == "assistant":
            turns.append([])
        (turns[-1] if turns else head).append(message)
    return head, turns


def pruned(levers: History, history: Sequence[JsonObject]) -> tuple[list[JsonObject], str]:
    """The history after `drop_oldest` or `clear_results`, and what was done; empty if there was nothing to do."""
    head, turns = turns_of(history)
    older, kept = turns[: -levers.keep_turns], turns[-levers.keep_turns :]
    if levers.policy == "drop_oldest":
        if not older:
            return list(history), ""
        return [*_noted(head, _DROPPED), *_messages(kept)], f"drop_oldest: turns dropped: {len(older)}"
    cleared = sum(_is_result(message) for turn in older for message in turn)
    if not cleared:
        return list(history), ""
    emptied = [{**message, "content": CLEARED} if _is_result(message) else message for message in _messages(older)]
    return [*head, *emptied, *_messages(kept)], f"clear_results: results cleared: {cleared}"


def summary_request(history: Sequence[JsonObject]) -> list[JsonObject]:
    """The history with the wish for a summary after it, so that an engine that holds the history reuses it."""
    return [*history, {"role": "user", "content": _ASK}]


def summarised(levers: History, history: Sequence[JsonObject], summary: str) -> list[JsonObject]:
    """The task with the summary, and the last turns."""
    head, turns = turns_of(history)
    return [*_noted(head, f"{_SUMMARY}{summary}"), *_messages(turns[-levers.keep_turns :])]


def recap(history: Sequence[JsonObject]) -> str:
    """A summary made without a model: each call with the beginning of its result. What a rehearsal says as one."""
    lines: list[str] = []
    for message in history:
        if message["role"] == "user":
            lines += str(message["content"]).partition(_SUMMARY)[2].splitlines()
        for call in message.get("tool_calls") or ():
            lines.append(f"- {call['function']['name']} {call['function']['arguments']}"[:_RECAP_CHARACTERS])
        if message["role"] == "tool" and lines:
            first, _, _ = str(message["content"]).partition("\n")
            lines[-1] = f"{lines[-1]}: {first}"[: 2 * _RECAP_CHARACTERS]
    # Turns that were kept beside an earlier summary are in both.
    return "\n".join(dict.fromkeys(lines)) or "Nothing was done yet."


def _messages(turns: list[list[JsonObject]]) -> list[JsonObject]:
    return [message for turn in turns for message in turn]


def _is_result(message: JsonObject) -> bool:
    return bool(message["role"] == "tool" and message["content"] != CLEARED)


def _noted(head: list[JsonObject], note: str) -> list[JsonObject]:
    """The messages before the first turn with a note at their end, in place of an earlier one."""
    task = str(head[-1]["content"])
    for mark in (_DROPPED, _SUMMARY):
        task = task.partition(mark)[0]
    return [*head[:-1], {**head[-1], "content": task + note}]
