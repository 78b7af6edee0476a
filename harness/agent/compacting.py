"""Applies a history policy when a prompt grew too long: prunes, or asks for a summary."""

from __future__ import annotations

from collections.abc import Callable

from backends.base import JsonObject
from harness.agent.history import is_due, pruned, summarised, summary_request, turns_of
from harness.agent.model import COMPACTION, Answer, Model
from harness.settings import History

__all__ = ["Ask", "Compacting"]

Ask = Callable[[Model, list[JsonObject], str], Answer]
"""Asks a model with a history, in a conversation."""


class Compacting:
    """The policy of a dispatch. `model` writes the summaries."""

    def __init__(self, levers: History, context_tokens: int | None, model: Model) -> None:
        self._levers = levers
        self._context_tokens = context_tokens
        self._model = model
        self._prompt_tokens: int | None = None

    def saw(self, prompt_tokens: int | None) -> None:
        """Note how long the last prompt was, by the engine's count."""
        self._prompt_tokens = prompt_tokens

    def before(self, history: list[JsonObject], ask: Ask) -> tuple[list[JsonObject], tuple[str, ...]]:
        """The history to go on with, and what was done to it. A summary that fails leaves it as it is."""
        if not is_due(self._levers, self._prompt_tokens, self._context_tokens):
            return history, ()
        # Unknown until the shorter history was sent: one long prompt is one reason to act.
        self._prompt_tokens = None
        if self._levers.policy != "summarise":
            shorter, done = pruned(self._levers, history)
            return shorter, (f"compacted: {done}",) if done else ()
        turns = len(turns_of(history)[1])
        if turns <= self._levers.keep_turns:
            return history, ()
        answer = ask(self._model, summary_request(history), COMPACTION)
        summary = answer.said.content.strip()
        if answer.error is not None or not summary:
            why = answer.error.message if answer.error is not None else "the answer holds no summary"
            return history, (f"compaction_failed: {why}",)
        done = f"summarise: turns summed up: {turns - self._levers.keep_turns}"
        by = f", request {answer.request_id}" if answer.request_id is not None else ""
        return summarised(self._levers, history, summary), (f"compacted: {done}{by}",)
