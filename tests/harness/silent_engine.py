"""llama-server with its counts hidden, as LM Studio is: an adapter from outside, named `tests.harness.silent_engine`.

It keeps what it hid (`truth`), shows no prompts and forces nothing; its replies are short, so that tests are.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from backends import open_engine as open_inner
from backends.base import Engine, Event, Evidence, Facts, Request, Target

HIDDEN = ("cached_tokens", "evaluated_tokens", "prefill_ns")
REPLY_TOKENS = 24


class Silent:
    """An engine in front of another one."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        self.truth: list[int | None] = []

    def stream(self, request: Request) -> Iterator[Event]:
        short = msgspec.structs.replace(request, max_tokens=min(REPLY_TOKENS, request.max_tokens))
        for event in self._inner.stream(short):
            if isinstance(event, Evidence):
                self.truth.append(event.cached_tokens)
                sources = {field: source for field, source in event.sources.items() if field not in HIDDEN}
                event = msgspec.structs.replace(event, **dict.fromkeys(HIDDEN), sources=sources, log=())
            yield event

    def render(self, request: Request) -> None:
        return None

    def facts(self) -> Facts:
        return self._inner.facts()

    def pids(self) -> tuple[int, ...]:
        return self._inner.pids()

    def close(self) -> None:
        self._inner.close()


def open_engine(target: Target) -> Silent:
    """A llama-server on the target's model."""
    return Silent(open_inner(msgspec.structs.replace(target, engine="llama-server")))
