"""Rules for what became of the model's own words: reasoning left out, calls written anew, other tokens. Pure."""

from __future__ import annotations

from profiler.causes.base import Case, Change
from profiler.causes.reasoning_marks import empty_reasoning, opens_reasoning
from profiler.causes.rule import Guess, is_block
from profiler.causes.same_values import same_values

__all__ = ["arguments_rewritten", "reasoning_stripped", "retokenised", "same_but_for_spaces"]


def reasoning_stripped(_: Case, change: Change) -> str | None:
    """P9: reasoning that the cache holds and the history does not."""
    part, old, new = change.place.part, change.old_whole, change.new_whole
    if (
        part in ("system", "tools", "tool", "user")
        or change.kind == "retokenised"
        or (is_block(change) and part != "assistant_reasoning")
    ):
        return None
    marked = opens_reasoning(old, new)
    if not marked and not (
        part == "assistant_reasoning" and (not new.strip() or change.kind == "removed" or not change.in_request)
    ):
        return None
    if marked and empty_reasoning(old):
        return "The chat template puts an empty reasoning block before the newest reply alone, and takes it out later."
    if change.in_request:
        return "The client sends the history back without the model's reasoning, which the cache holds."
    return "The chat template leaves earlier reasoning out of the prompt, which the cache holds."


def arguments_rewritten(_: Case, change: Change) -> str | Guess | None:
    """P8: the same arguments of a tool call in another form."""
    if change.place.part != "assistant_tool_call" or is_block(change):
        return None
    who = "client sends" if change.in_request else "chat template or the server writes"
    if change.kind == "retokenised":
        return Guess(f"The {who} a tool call back in another form than the model wrote it; its own text is not shown.")
    if same_values(change.old_whole, change.new_whole):
        return f"The {who} a tool call back in another form: the same values, other text."
    return None


def retokenised(_: Case, change: Change) -> str | None:
    """P10: the same text in other tokens."""
    if change.kind != "retokenised":
        return None
    return "The text is the same, but it is made of other tokens than the ones that were generated or evaluated."


def same_but_for_spaces(change: Change) -> bool:
    """Whether both sides say the same but for white space."""
    return "".join(change.old_whole.split()) == "".join(change.new_whole.split())
