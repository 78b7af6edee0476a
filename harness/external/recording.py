"""Recorded requests of a dispatch as records: attributed, rendered, judged in the order in which they were sent.

A request is judged once it and all before it have ended, by the rules that hold for dyno's own (`harness.sending`). Its
prompt is rendered after it was served, so that the agent never waits for dyno; the rendering may fall into the time of
the next request. Requests that were served side by side say so in their verdict's note, and have no lines of the
engine's log, which cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from queue import Empty
from typing import NamedTuple

import msgspec

from backends.base import EngineError, KeepsLog, Prompt, Request
from harness.external.conversations import Conversations
from harness.sending import Judged, Place, Sender, generated_ids
from profiler.measure import Measurement
from profiler.proxy.endpoint import Endpoint
from profiler.proxy.exchange import CHAT, Exchange, is_inference, measured, request_of

__all__ = ["Recorded", "Recording"]


class Recorded(NamedTuple):
    """A judged request, and what of it a turn is made of; `request` is `None` where the form shows no messages."""

    judged: Judged
    exchange: Exchange
    request: Request | None


class Recording:
    """The requests of the dispatch `session` that come through an endpoint. Used by one thread, as its engine is."""

    def __init__(self, endpoint: Endpoint, sender: Sender, session: str) -> None:
        self._endpoint = endpoint
        self._sender = sender
        self._session = session
        self._conversations = Conversations()
        self._waiting: dict[int, Exchange] = {}
        self._next = 1

    def judged(self, *, wait_s: float = 0.0) -> Iterator[Recorded]:
        """Records of the requests that have ended, waiting so long for the first one."""
        self._take(wait_s)
        while self._next in self._waiting:
            exchange = self._waiting.pop(self._next)
            self._next += 1
            if exchange.session == self._session and is_inference(exchange):
                yield self._judge(exchange)

    def _take(self, wait_s: float) -> None:
        try:
            while True:
                exchange = (
                    self._endpoint.finished.get(timeout=wait_s) if wait_s else self._endpoint.finished.get_nowait()
                )
                self._waiting[exchange.number] = exchange
                wait_s = 0.0
        except Empty:
            return

    def _judge(self, exchange: Exchange) -> Recorded:
        request = request_of(exchange)
        found = measured(exchange, self._log(exchange))
        prompt = self._rendered(request, exchange, found)
        conversation, turn = self._conversations.place(request)
        place = Place(self._session, conversation, turn)
        match = self._sender.ledger.match(place.key, prompt.token_ids if prompt else None)
        record, kept = self._sender.record(
            request or Request(()),
            place,
            found,
            prompt,
            match,
            self._generated(request, found),
            live=True,
            sent_unix_ns=exchange.sent_unix_ns,
            body=exchange.body,
        )
        self._conversations.note(conversation, record.reply)
        if exchange.overlaps:
            note = f"served side by side with {len(exchange.overlaps)} other(s)"
            verdict = record.verdict
            noted = msgspec.structs.replace(verdict, note=f"{verdict.note}; {note}" if verdict.note else note)
            record = msgspec.structs.replace(record, verdict=noted)
        return Recorded((record, kept), exchange, request)

    def _log(self, exchange: Exchange) -> str:
        """What the engine logged for this request alone."""
        engine = self._sender.engine
        if exchange.log_from is None or exchange.overlaps or not isinstance(engine, KeepsLog):
            return ""
        text, until = engine.log_since(exchange.log_from), self._endpoint.log_until(exchange.number)
        return text if until is None else text.encode()[: until - exchange.log_from].decode("utf-8", "replace")

    def _rendered(self, request: Request | None, exchange: Exchange, found: Measurement) -> Prompt | None:
        """The prompt. One that was brought from another form counts only if it is as long as the engine says."""
        if request is None:
            return None
        try:
            prompt = self._sender.engine.render(request)
        except EngineError:
            return None
        said = found.evidence.prompt_tokens
        other = exchange.path != CHAT and prompt is not None and said is not None and said != len(prompt.token_ids)
        return None if other else prompt

    def _generated(self, request: Request | None, found: Measurement) -> tuple[int, ...] | None:
        if found.error is not None or request is None:
            return None
        return found.reply.token_ids or generated_ids(self._sender.engine, request, found)
