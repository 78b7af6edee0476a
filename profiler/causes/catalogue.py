"""The closed list of causes: stable codes, in the order in which rules are tried. Names and titles; no rules.

P is the prompt's side (the text changed), E the engine's (the text was the same). `P0` and `E0` stand for what no rule
explains: it is shown with its difference, and counted.
"""

from __future__ import annotations

from typing import Final

import msgspec

from profiler.causes.base import LossSide

__all__ = ["CAUSES", "CauseKind", "kind_of"]


class CauseKind(msgspec.Struct, frozen=True):
    """A cause by its stable code; `name` is what tests and JSON call it, `title` what a reader does."""

    code: str
    name: str
    title: str

    @property
    def side(self) -> LossSide:
        """Whose loss it is."""
        return "prompt" if self.code.startswith("P") else "engine"


CAUSES: Final = tuple(
    CauseKind(*row)
    for row in (
        ("P3", "billing_header", "a billing header that changes with every request"),
        ("P1", "volatile_value", "a date, time, path, counter or share in the system prompt"),
        ("P2", "git_status", "git status or branch in the prompt"),
        ("P6", "tools_changed", "tools in another order, added or removed"),
        ("P7", "schema_key_order", "a tool's schema with its keys in another order"),
        ("P9", "reasoning_stripped", "earlier reasoning left out of the history"),
        ("P8", "arguments_rewritten", "arguments of a tool call written in another form"),
        ("P10", "retokenised", "the same text in other tokens"),
        ("P12", "image_changed", "an image encoded again or dropped"),
        ("P11", "history_rewritten", "history compacted, pruned or cut"),
        ("P4", "moving_reminder", "a reminder or countdown that moves through the history"),
        ("P5", "volatile_metadata", "metadata or memories put before or into earlier messages"),
        ("P13", "bos_toggled", "a begin-of-text token that comes and goes"),
        ("P14", "body_rewritten", "something between agent and engine rewrote the request"),
        ("P0", "unexplained_text", "a change of the text that no rule explains"),
        ("E8", "reloaded", "the model was unloaded and loaded again"),
        ("E13", "caching_off", "prompt caching is switched off"),
        ("E9", "adapter_changed", "another adapter (LoRA) was set"),
        ("E10", "context_shifted", "the context overflowed and was shifted"),
        ("E17", "kv_purged", "the shared KV cache ran out of room"),
        ("E7", "store_full", "the store of earlier prompts was full, or too small"),
        ("E16", "restore_failed", "a stored prompt could not be restored"),
        ("E3", "pinned_slot_cleared", "the pinned slot was cleared while it was idle"),
        ("E4", "parallel_requests", "requests ran at the same time"),
        ("E12", "cancelled", "the request before was cancelled or failed during its prefill"),
        ("E20", "replaced", "the conversation's own later prompt replaced an earlier one that shared more"),
        ("E2", "slot_stolen", "a sub-agent with the same system prompt took the slot"),
        ("E19", "other_slot", "the shared prefix lay in another slot, or in a stored prompt that was not taken"),
        ("E1", "evicted", "a side call (title, tags, another agent) took the only place"),
        ("E6", "checkpoint_too_far", "the nearest checkpoint lies before the change"),
        ("E5", "not_trimmable", "this kind of cache cannot be cut back, and no checkpoint was there"),
        ("E14", "sequential_path", "the server kept less for this kind of request"),
        ("E11", "vision_path", "requests with images reuse less"),
        ("E15", "block_granularity", "only whole blocks are reused"),
        ("E18", "context_full", "the whole context was evaluated again at 100 % occupancy"),
        ("E0", "unexplained_engine", "a loss of the engine that no rule explains"),
    )
)
"""All causes, in the order in which their rules are tried."""

_BY_CODE: Final = {kind.code: kind for kind in CAUSES}


def kind_of(code: str) -> CauseKind:
    """The cause with this code. Raises KeyError for a code that is not in the list."""
    return _BY_CODE[code]
