"""The engine contract: what an adapter takes, yields and raises. Nothing here touches an engine, a clock or a file.

An adapter is one file beside this one, found by its name (`backends.load`). It defines

* `Options`: a frozen `msgspec.Struct`, the launch settings that `Target.options` may hold, with defaults;
* `open_engine(target) -> Engine`;
* where the engine can do it, `open_planner() -> Planner` and `open_scorer(target) -> Scorer` (`backends.abilities`).

What an engine can do beyond `Engine` it offers through the small protocols below (`Forcer`, `Resetter`, `LogsLoad`,
`KeepsTime`, `Served`, `KeepsLog`); callers ask for the ability, never for an engine by name.

Adapters raise only the errors of `backends.errors`, which are given on here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from backends.errors import *  # noqa: F403 (the errors are part of the contract: they are imported from here)

JsonObject = dict[str, Any]
DeltaKind = Literal["content", "reasoning", "tool_call"]
CacheKind = Literal["full", "sliding_window", "recurrent"]
"""How an engine's cache can be cut back: anywhere, only inside its window, or only at a saved checkpoint."""


class Target(msgspec.Struct, frozen=True):
    """What to drive: an engine by its adapter's name, and a model file or a running server.

    `options` are launch settings as typed by the user; each adapter converts them to its `Options`.
    """

    engine: str
    model: str | None = None
    url: str | None = None
    options: dict[str, str] = {}

    def __str__(self) -> str:
        place = self.url or self.model or ""
        name = f"#{self.model}" if self.url and self.model else ""
        query = "&".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.engine}:{place}{name}" + (f"?{query}" if query else "")


class Forced(msgspec.Struct, frozen=True):
    """An output that the engine is made to produce: its text and canonical token ids, then the token that ends it."""

    text: str
    token_ids: tuple[int, ...]
    end_token_id: int


class Request(msgspec.Struct, frozen=True):
    """One chat request, as an agent would send it. Key order of messages and tools is kept: it reaches the prompt.

    `parameters` are further keys of the request body (sampling, `id_slot`, `chat_template_kwargs`, …), sent as they
    are.
    """

    messages: tuple[JsonObject, ...]
    tools: tuple[JsonObject, ...] = ()
    max_tokens: int = 128
    stream: bool = True
    parameters: JsonObject = {}
    forced: Forced | None = None


class Prompt(msgspec.Struct, frozen=True):
    """A request as the engine sees it: rendered text and token ids (`array('i')`, one int32 a token)."""

    text: str
    token_ids: array[int]


class CallPart(msgspec.Struct, frozen=True):
    """A piece of a tool call as an engine sends it: parts of one call have one `index`; a text that is not said is
    empty.

    `index` tells the calls of a reply apart (their number, or that of the reply's block or item). `id` and `name` come
    with a call's first part, the text of its `arguments` in pieces.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Delta(msgspec.Struct, frozen=True):
    """A piece of output. A chunk is not a token: `token_ids` is `None` where the engine does not say them.

    `at_ns` is the arrival time on the shared monotonic clock, only from engines that stamp their own events. `call` is
    what a `tool_call` says in parts, from engines that take calls apart; others give the text between the tags alone.
    """

    kind: DeltaKind
    text: str
    token_ids: tuple[int, ...] | None = None
    at_ns: int | None = None
    call: CallPart | None = None


class Evidence(msgspec.Struct, frozen=True):
    """What the engine says about one request; a field that it does not say is `None`, never 0.

    `prompt_tokens` counts the whole prompt, `cached_tokens` the part of it that was reused, so
    `evaluated_tokens = prompt_tokens - cached_tokens`. `prefill_ns` is the time for the evaluated part alone.
    `sources` names, field by field, where each figure was read (`timings.cache_n`, …).
    `reloaded` says whether the model was loaded for this request, so that its cache was empty.
    `conflict` says in words how the engine's own figures contradict each other; they are then not to be used.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    evaluated_tokens: int | None = None
    generated_tokens: int | None = None
    prefill_ns: int | None = None
    decode_ns: int | None = None
    slot: int | None = None
    truncated: bool | None = None
    sources: dict[str, str] = {}
    log: tuple[str, ...] = ()
    conflict: str | None = None
    reloaded: bool | None = None


class Stop(msgspec.Struct, frozen=True):
    """The end of a reply: the engine's own reason (`stop`, `length`, `tool_calls`, …), and when, if it stamps."""

    reason: str | None
    at_ns: int | None = None


class Opened(msgspec.Struct, frozen=True):
    """The engine's first sign of life for a request (response headers, a role-only chunk): neither output nor token."""

    at_ns: int | None = None


Event = Opened | Delta | Evidence | Stop


class Facts(msgspec.Struct, frozen=True):
    """What an engine says of itself. Two runs are comparable only where these agree.

    `granularity_tokens` is the step in which its cache can be reused (1: any token), `None` where not known.
    `settings` holds the launch settings in force, as text.
    """

    engine: str
    build: str | None = None
    model: str | None = None
    architecture: str | None = None
    quant: str | None = None
    context_tokens: int | None = None
    slots: int | None = None
    cache_kind: CacheKind | None = None
    granularity_tokens: int | None = None
    template_sha256: str | None = None
    launched: bool = False
    settings: dict[str, str] = {}


@runtime_checkable
class Engine(Protocol):
    """A running engine. One thread uses it at a time."""

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one request: `Opened?`, then deltas, then `Evidence?` and `Stop`.

        The last two come in either order: an adapter that has to look further for its evidence stops first, so that
        the looking is not timed.

        Raises:
            RequestRejected, EngineFault, EngineDied, Unreachable: the request failed; deltas seen so far stand.
        """
        ...

    def render(self, request: Request) -> Prompt | None:
        """The prompt as the engine will see it, or `None` where the engine cannot tell."""
        ...

    def facts(self) -> Facts:
        """What the engine says of itself."""
        ...

    def pids(self) -> tuple[int, ...]:
        """Processes whose memory and CPU belong to the engine; empty for a remote one."""
        ...

    def close(self) -> None:
        """Free the engine. May be called twice."""
        ...


@runtime_checkable
class Forcer(Protocol):
    """An engine whose output can be forced, so that a recorded session is replayed with real prefill and decode."""

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """The output that stands for the assistant message `reply` after `request`.

        `None` where this text cannot be forced on this engine (the caller then replays without).
        """
        ...


@runtime_checkable
class Resetter(Protocol):
    """An engine whose prompt cache can be emptied."""

    def reset(self) -> None:
        """Forget every cached prompt; the next request is cold."""
        ...


@runtime_checkable
class LogsLoad(Protocol):
    """An engine that keeps what it logged while it loaded: the only place where it names the sizes of its buffers."""

    def load_log(self) -> str:
        """The log from the launch until the engine was ready; empty for one that was not launched here."""
        ...


@runtime_checkable
class KeepsTime(Protocol):
    """A simulated engine, which brings the clock that it moves."""

    def clock(self) -> int:
        """Nanoseconds of simulated time."""
        ...


@runtime_checkable
class Served(Protocol):
    """An engine behind an address, which other programs can ask too."""

    def url(self) -> str:
        """Its address, without `/v1`."""
        ...


@runtime_checkable
class KeepsLog(Protocol):
    """An engine whose log can be read while it serves; nothing is in it for one that was not launched here."""

    def log_size(self) -> int:
        """Bytes of log so far."""
        ...

    def log_since(self, start: int) -> str:
        """The log from a byte on, once the request that is served has ended."""
        ...
