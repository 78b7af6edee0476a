"""A simulated engine: exact, without I/O, on a clock that it moves itself. For tests, and to see dyno work.

It keeps one token sequence per slot and reuses the common prefix, so that each verdict can be worked out by
hand. It is not a model of any engine: prices are constant per token, and one rule chooses the slot (the longest
shared prefix if that is a tenth of the prompt, else the least recently used).
"""

from __future__ import annotations

import difflib
import hashlib
from array import array
from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, Literal

import msgspec

from backends.base import (
    ContextOverflow,
    Delta,
    EngineFault,
    Event,
    Evidence,
    Facts,
    Forced,
    JsonObject,
    Opened,
    Prompt,
    Request,
    Stop,
    Target,
    TargetError,
)
from backends.options import convert_options
from backends.scripted_text import END_ID, Token, output_tokens, render_prompt, render_reply, tokenize

__all__ = ["Options", "Scripted", "SimulatedClock", "open_engine"]

SHARE_TO_KEEP_SLOT = 0.1
_WORDS = ("oak", "sun", "fog", "elm", "jay", "ivy", "ash", "owl", "bee", "fox", "gem", "hay", "ink", "jug")
_REPLIES = {
    "words": None,
    "reasoning": "<think>\nfirst look, then answer\n</think>\n\nDone.",
    "tool-call": '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.py"}}\n</tool_call>',
    "empty": "",
}

_Ns = Annotated[int, msgspec.Meta(ge=0)]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class Options(msgspec.Struct, frozen=True):
    """Prices and shape of the simulation.

    `report=none` leaves the cached tokens unsaid. `trimmable=off` is a cache that can only be extended, as a
    recurrent state: a divergence anywhere, and an identical repeat, starts from nothing.
    """

    slots: _Count = 1
    prefill_ns_per_token: _Ns = 100_000
    decode_ns_per_token: _Ns = 10_000_000
    overhead_ns: _Ns = 1_000_000
    report: Literal["cached", "none"] = "cached"
    trimmable: bool = True
    max_context: _Count = 32768


def open_engine(target: Target) -> Scripted:
    """A fresh simulation. `target.model` names the reply that it gives: words, reasoning, tool-call or empty.

    Raises:
        TargetError: an unknown reply, a URL, or a wrong option.
    """
    options = convert_options(target.options, Options, target.engine)
    if target.url is not None:
        raise TargetError("the scripted engine has no address", hint="write scripted:")
    name = target.model or "words"
    if name not in _REPLIES:
        near = difflib.get_close_matches(name, _REPLIES, 1)
        hint = f"did you mean {near[0]}?" if near else f"replies: {', '.join(_REPLIES)}"
        raise TargetError(f"the scripted engine has no reply {name!r}", hint=hint)
    return Scripted(options, name)


class SimulatedClock:
    """Nanoseconds that pass only when told to."""

    def __init__(self) -> None:
        self._now_ns = 0

    def __call__(self) -> int:
        """The time, ns."""
        return self._now_ns

    def advance(self, ns: int) -> None:
        """Let `ns` nanoseconds pass."""
        self._now_ns += ns


class _Slot:
    """The token ids that one slot holds, and the number of the request that it last served."""

    def __init__(self) -> None:
        self.token_ids = array("i")
        self.last_used = 0


class Scripted:
    """The simulation. Its first token comes with the end of prefill, each further one a decode step later."""

    def __init__(self, options: Options, reply: str = "words", clock: SimulatedClock | None = None) -> None:
        self._options = options
        self._reply = reply
        self._clock = clock or SimulatedClock()
        self._slots = [_Slot() for _ in range(options.slots)]
        self._requests = 0
        self._closed = False

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one request on the simulated clock; see `Engine.stream`.

        Closed early, it leaves in its slot what was evaluated until then.
        """
        if self._closed:
            raise EngineFault("the scripted engine is closed")
        options, advance = self._options, self._clock.advance
        prompt = self.render(request).token_ids
        advance(options.overhead_ns)
        if len(prompt) >= options.max_context:
            raise ContextOverflow(
                f"the prompt does not fit the context: {len(prompt)} tokens, context {options.max_context}",
                prompt_tokens=len(prompt),
                context_tokens=options.max_context,
            )
        yield Opened()
        index, cached = self._place(prompt)
        prefill_ns = (len(prompt) - cached) * options.prefill_ns_per_token
        advance(prefill_ns)
        held = self._slots[index].token_ids = prompt[:]
        tokens, ends = self._output(request, prompt)
        for number, token in enumerate(tokens):
            if number:
                # A token is evaluated when the next one is wanted, so the last one never is.
                advance(options.decode_ns_per_token)
                held.append(tokens[number - 1].id)
            if request.stream:
                yield Delta(token.kind, token.text, (token.id,))
        if ends and tokens:
            advance(options.decode_ns_per_token)
            held.append(tokens[-1].id)
        if not request.stream:
            yield from _whole(tokens)
        generated = len(tokens) + ends
        decode_ns = max(0, generated - 1) * options.decode_ns_per_token
        yield self._evidence(len(prompt), cached, generated, prefill_ns, decode_ns, index)
        called = any(token.kind == "tool_call" for token in tokens)
        yield Stop("length" if not ends else "tool_calls" if called else "stop")

    def render(self, request: Request) -> Prompt:
        """The prompt by a template like ChatML: tools as JSON in key order, reasoning and tool calls kept.

        Raises:
            RequestRejected: a message without a role, or content that is no text.
        """
        text = render_prompt(request)
        return Prompt(text=text, token_ids=array("i", tokenize(text)))

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """What the template puts for `reply`; `None` if that is nothing or holds a template marker."""
        text = render_reply(reply)
        return Forced(text, tuple(tokenize(text)), END_ID) if text else None

    def reset(self) -> None:
        """Empty every slot."""
        self._slots = [_Slot() for _ in self._slots]

    def clock(self) -> int:
        """The simulated time, ns."""
        return self._clock()

    def facts(self) -> Facts:
        """The simulation's shape; its cache can be reused at any token, or only as a whole."""
        options = self._options
        return Facts(
            engine="scripted",
            model=self._reply,
            architecture="scripted",
            context_tokens=options.max_context,
            slots=options.slots,
            cache_kind="full" if options.trimmable else "recurrent",
            granularity_tokens=1,
            launched=True,
            settings={name: str(value) for name, value in msgspec.structs.asdict(options).items()},
        )

    def pids(self) -> tuple[int, ...]:
        """None: it runs in the process that asks."""
        return ()

    def close(self) -> None:
        """Refuse further requests. May be called twice."""
        self._closed = True

    def _place(self, prompt: array[int]) -> tuple[int, int]:
        """Choose the slot for a prompt: its index, and how many of its tokens are reused."""
        shared = [_common_prefix(slot.token_ids, prompt) for slot in self._slots]
        index = shared.index(max(shared))
        if shared[index] <= SHARE_TO_KEEP_SLOT * len(prompt):
            used = [slot.last_used for slot in self._slots]
            index = used.index(min(used))
        self._requests += 1
        self._slots[index].last_used = self._requests
        held = len(self._slots[index].token_ids)
        if not self._options.trimmable and not shared[index] == held < len(prompt):
            return index, 0
        return index, min(shared[index], len(prompt) - 1)

    def _output(self, request: Request, prompt: array[int]) -> tuple[list[Token], bool]:
        """The tokens to generate, cut to `max_tokens` and the context, and whether an end token follows."""
        limit = room = self._options.max_context - len(prompt)
        text = _REPLIES[self._reply]
        if request.forced is not None:
            text = request.forced.text
        else:
            limit = min(request.max_tokens, room)
        tokens = output_tokens(_words(prompt, limit) if text is None else text)
        return tokens[:limit], len(tokens) < limit

    def _evidence(
        self, prompt: int, cached: int, generated: int, prefill_ns: int, decode_ns: int, slot: int
    ) -> Evidence:
        said = {"prompt_tokens": prompt, "generated_tokens": generated, "slot": slot}
        said |= {"prefill_ns": prefill_ns, "decode_ns": decode_ns}
        if self._options.report == "cached":
            said |= {"cached_tokens": cached, "evaluated_tokens": prompt - cached}
        return msgspec.convert({**said, "sources": dict.fromkeys(said, "scripted")}, Evidence)


def _whole(tokens: list[Token]) -> Iterator[Delta]:
    """A reply that was not streamed: one delta for each stretch of one kind."""
    for _, group in groupby(tokens, key=lambda token: token.kind):
        same = list(group)
        yield Delta(same[0].kind, "".join(token.text for token in same), tuple(token.id for token in same))


def _words(prompt: array[int], tokens: int) -> str:
    """A text of that many tokens, always the same after the same prompt."""
    digest = hashlib.sha256(prompt.tobytes()).digest()
    return " ".join(_WORDS[(digest[i % 32] + i) % len(_WORDS)] for i in range(tokens))


def _common_prefix(a: array[int], b: array[int]) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))
