"""One request of a simulation, and dyno's own requests of a run: their prompts are not stored, so they are made up.

What they begin with decides how alike a llama-server finds them to a session's prompts, and is taken from the run; what
follows are ids that no prompt holds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from profiler.anchor import GENERATED_TOKENS, anchor_request
from profiler.ledger import TOKEN_BYTES, common_prefix_tokens
from profiler.policies import Sent
from profiler.policies.messages import Opening, messages_of
from profiler.records import AnchorSample, RequestRecord
from profiler.rendered import Rendered
from profiler.store import StoredRun

__all__ = ["Ask", "FreeIds", "OwnRequests"]

_LOOKED_AT: Final = 8
_FREE: Final = -2
"""Ids that no prompt holds count down from here."""


class Ask(msgspec.Struct, frozen=True):
    """One request with where it belongs; `measured_tokens` is C by a run's engine, `None` where it is not known.

    `counted` is False for what a policy has to see but no figure is about: dyno's own, and what failed in the run.
    """

    sent: Sent
    session: str
    conversation: str
    turn: int
    request_id: int | None = None
    measured_tokens: int | None = None
    counted: bool = True


class FreeIds:
    """Token ids that no prompt holds, each given out once."""

    def __init__(self) -> None:
        self._next = _FREE

    def take(self, count: int) -> array[int]:
        """As many of them."""
        first = self._next
        self._next -= count
        return array("i", range(first, self._next, -1))


class OwnRequests:
    """dyno's own requests of a run: the probe and the calibration before its sessions, the anchors between them."""

    def __init__(self, run: StoredRun, prompts: dict[int, Rendered], opening: Opening | None, free: FreeIds) -> None:
        self._waiting: list[AnchorSample] = list(run.anchors)
        self._info = run.info
        self._free = free
        self._number = 0
        self._head = _user_head(list(prompts.values())[:_LOOKED_AT], opening)
        first = next(iter(prompts.values()))
        characters = len(str(anchor_request("").messages[0]["content"]))
        self._anchor_tokens = round(characters * len(first.token_ids) / max(1, len(first.text)))

    def opening(self) -> Iterator[Ask]:
        """Those before the first session; the probe is sent twice."""
        probe, calibration = self._info.probe, self._info.calibration
        if probe is not None and probe.prompt_tokens.cold is not None:
            prompt = self._prompt(probe.prompt_tokens.cold)
            for generated in (probe.generated_tokens.cold, probe.generated_tokens.repeat):
                yield self._ask(prompt, generated or 1)
        for sample in calibration.samples if calibration is not None else ():
            yield self._ask(self._prompt(sample.prompt_tokens), 1)

    def before(self, record: RequestRecord) -> Iterator[Ask]:
        """The anchors sent since the last request and before this one."""
        while self._waiting and self._waiting[0].at_ns <= record.stamps.sent_ns:
            self._waiting.pop(0)
            yield self._ask(self._prompt(self._anchor_tokens), GENERATED_TOKENS)

    def _prompt(self, tokens: int) -> array[int]:
        return self._head + self._free.take(max(1, tokens - len(self._head)))

    def _ask(self, prompt: array[int], generated: int) -> Ask:
        self._number += 1
        sent = Sent(f"dyno's own {self._number}", prompt, self._free.take(generated))
        return Ask(sent, "", "dyno's own", 0, counted=False)


def _user_head(prompts: Sequence[Rendered], opening: Opening | None) -> array[int]:
    """What a template puts before the first text of a prompt without a system message: what dyno's own begin with.

    Every user message of the run begins so. Without messages only the first token is sure.
    """
    blocks = {
        rendered.token_ids[message.start :].tobytes()
        for rendered in prompts
        for message in messages_of(rendered.text, rendered.token_ids, opening)
        if message.role == "user"
    }
    first = prompts[0].token_ids
    if len(blocks) < 2 or opening is None:
        return first[:1]
    # Of many texts, the common prefix is that of the first and the last in order.
    shared = common_prefix_tokens(min(blocks), max(blocks))
    return first[: first.index(opening.token)] + array("i", min(blocks)[: shared * TOKEN_BYTES])
