"""An engine that is a cache policy and evaluates nothing: what the real one would reuse, without it.

Prompts are rendered by another engine, which is asked for nothing else, so that tokens are the model's own; what is
reused of them is said by the policy of the engine that is modelled (`profiler.policies`). Replies have to be forced:
nothing here generates. No time passes on its clock, so that no time can be told of it. What the policies leave out
(requests that overlap, images, speculative decoding) is left out here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from backends.base import (
    ContextOverflow,
    Delta,
    Engine,
    Event,
    Evidence,
    Facts,
    Forced,
    Forcer,
    JsonObject,
    Opened,
    Prompt,
    Request,
    RequestRejected,
    Stop,
)
from harness.simulation.play import granularity_tokens
from harness.simulation.requests import FreeIds
from profiler.policies import Policy, Sent, load
from profiler.policies.base import Role
from profiler.policies.messages import find_opening, messages_of

__all__ = ["Modelled"]

_LOOKED_AT: Final = 8
"""Prompts that are kept to find the marker with which the template opens messages."""


class Modelled:
    """A policy behind the contract of an engine. Closing it closes the engine that renders."""

    def __init__(
        self, renderer: Engine, engine: str, options: msgspec.Struct, context_tokens: int | None, kept: dict[str, str]
    ) -> None:
        """`options` are the policy's; `kept` the settings as typed, for the facts; `context_tokens` is a slot's.

        Raises:
            UnknownEngine: no policy models `engine`.
        """
        self._renderer = renderer
        self._engine = engine
        self._options = options
        self._context_tokens = context_tokens
        self._kept = kept
        self._seen: list[tuple[str, array[int]]] = []
        self._free = FreeIds()
        self._policy: Policy = load(engine).open_policy(options)

    def stream(self, request: Request) -> Iterator[Event]:
        """What the modelled engine would reuse for a request, and its forced reply.

        Raises:
            ContextOverflow: the prompt does not fit.
            RequestRejected: the prompt cannot be shown.
        """
        prompt = self._renderer.render(request)
        if prompt is None:
            raise RequestRejected("the engine that renders shows no prompt", hint="give a target with a model file")
        tokens = len(prompt.token_ids)
        if self._context_tokens is not None and tokens >= self._context_tokens:
            raise ContextOverflow(
                f"the prompt does not fit the context: {tokens} tokens, context {self._context_tokens}",
                prompt_tokens=tokens,
                context_tokens=self._context_tokens,
            )
        yield Opened()
        forced = request.forced
        ids = array("i", (*forced.token_ids, forced.end_token_id)) if forced else self._free.take(request.max_tokens)
        predicted = self._policy.serve(self._sent(request, prompt, ids))
        if forced is not None:
            yield Delta("content", forced.text, forced.token_ids)
        cached = predicted.cached_tokens
        said: dict[str, Any] = {"prompt_tokens": tokens, "generated_tokens": len(ids), "slot": predicted.slot}
        said |= {} if cached is None else {"cached_tokens": cached, "evaluated_tokens": tokens - cached}
        sources = dict.fromkeys((key for key, value in said.items() if value is not None), f"policy of {self._engine}")
        yield msgspec.convert({**said, "sources": sources}, Evidence)
        yield Stop("stop")

    def render(self, request: Request) -> Prompt | None:
        """The prompt by the engine that renders."""
        return self._renderer.render(request)

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """The forced output by the engine that renders."""
        return self._renderer.forced(request, reply) if isinstance(self._renderer, Forcer) else None

    def reset(self) -> None:
        """Begin with an empty cache."""
        self._policy = load(self._engine).open_policy(self._options)

    def clock(self) -> int:
        """Always 0: a policy takes no time."""
        return 0

    def facts(self) -> Facts:
        """The model by the engine that renders, the rest by what is modelled."""
        shown = self._renderer.facts()
        return msgspec.structs.replace(
            shown,
            engine=self._engine,
            build=f"modelled; prompts by {shown.engine} {shown.build or ''}".strip(),
            context_tokens=self._context_tokens,
            slots=None,
            cache_kind=getattr(self._options, "cache_kind", shown.cache_kind),
            granularity_tokens=granularity_tokens(self._engine, self._options),
            settings=self._kept,
        )

    def pids(self) -> tuple[int, ...]:
        """None: what runs here is no engine whose memory would say anything."""
        return ()

    def close(self) -> None:
        """Close the engine that renders."""
        self._renderer.close()

    def _sent(self, request: Request, prompt: Prompt, ids: array[int]) -> Sent:
        if len(self._seen) < _LOOKED_AT:
            self._seen.append((prompt.text, prompt.token_ids))
        roles = cast("list[Role]", [message["role"] for message in request.messages])
        slot = request.parameters.get("id_slot")
        return Sent(
            conversation="",
            prompt=prompt.token_ids,
            generated=ids,
            slot=slot if isinstance(slot, int) and slot >= 0 else None,
            cache_prompt=request.parameters.get("cache_prompt") is not False,
            messages=messages_of(prompt.text, prompt.token_ids, find_opening(self._seen), roles),
        )
