"""The contract of policy models: how an engine keeps and reuses prompt caches, without the engine.

A policy takes the requests of a session as token sequences, in the order in which the engine would receive them, one at
a time, and says for each how many tokens the engine would reuse and why. It holds what the engine would hold, and
computes nothing: no time, no text, no files. Requests that overlap in time are not modelled.

A policy is one module beside this one, found by its name (`profiler.policies.load`). It defines

* `Options`: a frozen `msgspec.Struct`, the engine's settings that decide about its cache, with the engine's defaults;
* `open_policy(options) -> Policy`: an empty cache under these settings.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True):
    """Where a message of a prompt starts: the token offset of the first token that the template puts for it.

    The role is that of the rendered text: templates that write a tool's answer as a user's turn make it one for the
    engine too. `sent_as` is the role in the request, where that is another one: mlx_lm.server goes by it.
    """

    role: Role
    start: int
    sent_as: Role | None = None


class Sent(msgspec.Struct, frozen=True):
    """One request as the engine sees it; counts and offsets are tokens, ids are `array('i')`.

    `generated` are the ids that the engine will produce, the one that ends the reply included; the last of them is
    sampled and never evaluated. `slot` is the slot that the request pins (`id_slot`). `messages` are the messages of
    the prompt in order, empty where they are not known: policies whose engines place snapshots by message then say
    less exactly where these lie.
    """

    conversation: str
    prompt: array[int]
    generated: array[int]
    slot: int | None = None
    cache_prompt: bool = True
    messages: tuple[Message, ...] = ()


class Predicted(msgspec.Struct, frozen=True):
    """What the policy expects for one request.

    `cached_tokens` (C) is `None` where this policy cannot tell, or the engine would refuse the prompt; `why` is one
    plain sentence on what was found, kept or cleared; `slot` is the slot that serves the request, on engines that have
    slots.
    """

    cached_tokens: int | None
    why: str
    slot: int | None = None


class Policy(Protocol):
    """The cache of one engine process. It changes with every request, so order matters."""

    def serve(self, sent: Sent) -> Predicted:
        """Predict the reuse for this request, then hold what the engine would hold after its reply."""
        ...


def find_messages(prompt: array[int], openings: Mapping[Role, array[int]]) -> tuple[Message, ...]:
    """The messages of a prompt, found by the tokens with which a template opens each role, as llama-server does.

    Text that holds the same special tokens is taken for a message, there as here.
    """
    found: list[Message] = []
    for role, opening in openings.items():
        at = -1
        while True:
            try:
                at = prompt.index(opening[0], at + 1)
            except ValueError:
                break
            if prompt[at : at + len(opening)] == opening:
                found.append(Message(role, at))
    return tuple(sorted(found, key=lambda message: message.start))
